//! Text that is stored once and referred to by number.

use std::sync::Arc;

use homeserver_core::{Cache, KeySn, MemoryBudget, RoomSn, ServerSn, TypeSn, UserSn};

use crate::{Database, StorageError, params};

/// Both directions of one kind of interned text.
struct Names {
    by_text: Cache<Box<str>, i64>,
    by_number: Cache<i64, Arc<str>>,
    find: &'static str,
    create: &'static str,
    name: &'static str,
}

impl Names {
    /// `caches` are the names of the two directions in the metrics.
    fn new(memory: &MemoryBudget, caches: [&'static str; 2], [find, create, name]: [&'static str; 3]) -> Self {
        let [by_text, by_number] = caches;
        Self { by_text: Cache::new(memory, by_text), by_number: Cache::new(memory, by_number), find, create, name }
    }

    fn remember(&self, text: &str, number: i64) {
        self.by_text.insert(text.into(), number);
        self.by_number.insert(number, text.into());
    }

    async fn find(&self, database: &Database, text: &str) -> Result<Option<i64>, StorageError> {
        if let Some(number) = self.by_text.get(text) {
            return Ok(Some(number));
        }
        // PostgreSQL cannot hold U+0000 in text, so no such text is known.
        if text.contains('\0') {
            return Ok(None);
        }
        let found = database.query_optional(self.find, params![text], |row| row.get(0)).await?;
        if let Some(number) = found {
            self.remember(text, number);
        }
        Ok(found)
    }

    async fn intern(&self, database: &Database, text: &str) -> Result<i64, StorageError> {
        if let Some(number) = self.find(database, text).await? {
            return Ok(number);
        }
        let (find, create, owned) = (self.find, self.create, text.to_owned());
        let number = database
            .write(async move |tx| {
                tx.execute(create, params![&owned]).await?;
                let number = tx.query_optional(find, params![&owned], |row| row.get(0)).await?;
                number.ok_or_else(|| StorageError::Statement(format!("{owned:?} was not interned")))
            })
            .await?;
        self.remember(text, number);
        Ok(number)
    }

    async fn name(&self, database: &Database, number: i64) -> Result<Arc<str>, StorageError> {
        let load = async {
            let text: Option<String> = database.query_optional(self.name, params![number], |row| row.get(0)).await?;
            let text =
                text.ok_or_else(|| StorageError::Statement(format!("nothing is interned as {number}: {}", self.name)))?;
            self.by_text.insert(text.as_str().into(), number);
            Ok(text.into())
        };
        self.by_number.get_or_load(&number, load).await
    }
}

/// Interned user IDs, room IDs, event types, state keys and servers. What was looked up recently is answered from memory.
pub struct Interned {
    database: Database,
    users: Names,
    rooms: Names,
    types: Names,
    keys: Names,
    servers: Names,
}

macro_rules! kinds {
    ($($field:ident: $sn:ident, $what:literal, $find:ident, $intern:ident, $name:ident;)*) => {$(
        #[doc = concat!("The number of ", $what, ", if it is known.")]
        ///
        /// # Errors
        /// [`StorageError`] if the statement fails.
        pub async fn $find(&self, text: &str) -> Result<Option<$sn>, StorageError> {
            Ok(self.$field.find(&self.database, text).await?.map($sn))
        }

        #[doc = concat!("The number of ", $what, ", which is given one if it has none.")]
        ///
        /// # Errors
        /// [`StorageError`] if the statement fails.
        pub async fn $intern(&self, text: &str) -> Result<$sn, StorageError> {
            Ok($sn(self.$field.intern(&self.database, text).await?))
        }

        #[doc = concat!("The text of ", $what, ".")]
        ///
        /// # Errors
        /// [`StorageError`] if the statement fails, or there is no such number.
        pub async fn $name(&self, sn: $sn) -> Result<Arc<str>, StorageError> {
            self.$field.name(&self.database, sn.0).await
        }
    )*};
}

impl Interned {
    /// Remembers the numbers of a user's ID, which came with something else that was read.
    pub fn remember_user(&self, user_id: &str, user_sn: UserSn, key_sn: Option<KeySn>) {
        self.users.remember(user_id, user_sn.0);
        if let Some(key_sn) = key_sn {
            self.keys.remember(user_id, key_sn.0);
        }
    }

    /// Interned text of `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let memory = database.memory().clone();
        Self {
            users: Names::new(
                &memory,
                ["user_numbers", "user_ids"],
                [
                    "SELECT user_sn FROM users WHERE user_id = $1",
                    "INSERT INTO users (user_id) VALUES ($1) ON CONFLICT DO NOTHING",
                    "SELECT user_id FROM users WHERE user_sn = $1",
                ],
            ),
            rooms: Names::new(
                &memory,
                ["room_numbers", "room_ids"],
                [
                    "SELECT room_sn FROM rooms WHERE room_id = $1",
                    "INSERT INTO rooms (room_id) VALUES ($1) ON CONFLICT DO NOTHING",
                    "SELECT room_id FROM rooms WHERE room_sn = $1",
                ],
            ),
            types: Names::new(
                &memory,
                ["event_type_numbers", "event_types"],
                [
                    "SELECT type_sn FROM event_types WHERE event_type = $1",
                    "INSERT INTO event_types (event_type) VALUES ($1) ON CONFLICT DO NOTHING",
                    "SELECT event_type FROM event_types WHERE type_sn = $1",
                ],
            ),
            keys: Names::new(
                &memory,
                ["state_key_numbers", "state_keys"],
                [
                    "SELECT key_sn FROM state_keys WHERE state_key = $1",
                    "INSERT INTO state_keys (state_key) VALUES ($1) ON CONFLICT DO NOTHING",
                    "SELECT state_key FROM state_keys WHERE key_sn = $1",
                ],
            ),
            servers: Names::new(
                &memory,
                ["server_numbers", "server_names"],
                [
                    "SELECT server_sn FROM servers WHERE server_name = $1",
                    "INSERT INTO servers (server_name) VALUES ($1) ON CONFLICT DO NOTHING",
                    "SELECT server_name FROM servers WHERE server_sn = $1",
                ],
            ),
            database,
        }
    }

    kinds! {
        users: UserSn, "a user ID", find_user, user, user_id;
        rooms: RoomSn, "a room ID", find_room, room, room_id;
        types: TypeSn, "an event type", find_type, event_type, type_name;
        keys: KeySn, "a state key", find_key, state_key, key_text;
        servers: ServerSn, "a server", find_server, server, server_name;
    }
}
