//! Text that is stored once and referred to by number.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use homeserver_core::{Cache, KeySn, MemoryBudget, RoomSn, ServerSn, TypeSn, UserSn};

use crate::{Database, Row, StorageError, Tx, Value, params};

/// Texts that are given numbers in one transaction.
const TEXTS_AT_ONCE: usize = 1_000;

/// Both directions of one kind of interned text.
struct Names {
    by_text: Cache<Box<str>, i64>,
    by_number: Cache<i64, Arc<str>>,
    find: &'static str,
    create: &'static str,
    name: &'static str,
    find_all: &'static str,
    create_all: &'static str,
}

impl Names {
    /// `caches` are the names of the two directions in the metrics.
    fn new(memory: &MemoryBudget, caches: [&'static str; 2], statements: [&'static str; 5]) -> Self {
        let [by_text, by_number] = caches;
        let (by_text, by_number) = (Cache::new(memory, by_text), Cache::new(memory, by_number));
        let [find, create, name, find_all, create_all] = statements;
        Self { by_text, by_number, find, create, name, find_all, create_all }
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

    /// The numbers of many texts, those without a number being given one, all in one transaction.
    async fn intern_all(&self, database: &Database, texts: Vec<&str>) -> Result<HashMap<Box<str>, i64>, StorageError> {
        let mut numbers = HashMap::new();
        let mut unknown: BTreeSet<String> = BTreeSet::new();
        for text in texts {
            match self.by_text.get(text) {
                Some(number) => drop(numbers.insert(text.into(), number)),
                None => drop(unknown.insert(text.to_owned())),
            }
        }
        let unknown: Vec<String> = unknown.into_iter().collect();
        for texts in unknown.chunks(TEXTS_AT_ONCE) {
            let read = |row: &Row<'_>| Ok((row.get::<Box<str>>(0)?, row.get::<i64>(1)?));
            let mut found = database.query(self.find_all, params![texts], read).await?;
            if found.len() < texts.len() {
                let (find_all, create_all, owned) = (self.find_all, self.create_all, texts.to_vec());
                let create = async move |tx: &mut Tx| {
                    let rows: Vec<Vec<Value<'_>>> = owned.iter().map(|text| vec![text.into()]).collect();
                    tx.insert_all(create_all, &rows).await?;
                    tx.query(find_all, params![&owned], |row| Ok((row.get(0)?, row.get(1)?))).await
                };
                found = database.write(create).await?;
            }
            for (text, number) in found {
                self.remember(&text, number);
                numbers.insert(text, number);
            }
        }
        Ok(numbers)
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

/// The numbers of what events of a room name.
#[derive(Default, Debug)]
pub struct EventNames {
    /// Users: senders, and those whose membership it is.
    pub users: HashMap<Box<str>, UserSn>,
    /// Event types.
    pub types: HashMap<Box<str>, TypeSn>,
    /// State keys.
    pub keys: HashMap<Box<str>, KeySn>,
}

impl Interned {
    /// The numbers of many user IDs, event types and state keys at once, those without a number being given one. None of the texts
    /// may contain U+0000.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn intern_all(
        &self,
        users: Vec<&str>,
        types: Vec<&str>,
        keys: Vec<&str>,
    ) -> Result<EventNames, StorageError> {
        let users = self.users.intern_all(&self.database, users).await?;
        let types = self.types.intern_all(&self.database, types).await?;
        let keys = self.keys.intern_all(&self.database, keys).await?;
        Ok(EventNames {
            users: users.into_iter().map(|(text, number)| (text, UserSn(number))).collect(),
            types: types.into_iter().map(|(text, number)| (text, TypeSn(number))).collect(),
            keys: keys.into_iter().map(|(text, number)| (text, KeySn(number))).collect(),
        })
    }

    /// The numbers of many servers at once, those without a number being given one.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn intern_servers(&self, servers: Vec<&str>) -> Result<HashMap<Box<str>, ServerSn>, StorageError> {
        let servers = self.servers.intern_all(&self.database, servers).await?;
        Ok(servers.into_iter().map(|(text, number)| (text, ServerSn(number))).collect())
    }

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
                    "SELECT user_id, user_sn FROM users WHERE user_id IN LIST($1)",
                    "users (user_id) ON CONFLICT DO NOTHING",
                ],
            ),
            rooms: Names::new(
                &memory,
                ["room_numbers", "room_ids"],
                [
                    "SELECT room_sn FROM rooms WHERE room_id = $1",
                    "INSERT INTO rooms (room_id) VALUES ($1) ON CONFLICT DO NOTHING",
                    "SELECT room_id FROM rooms WHERE room_sn = $1",
                    "SELECT room_id, room_sn FROM rooms WHERE room_id IN LIST($1)",
                    "rooms (room_id) ON CONFLICT DO NOTHING",
                ],
            ),
            types: Names::new(
                &memory,
                ["event_type_numbers", "event_types"],
                [
                    "SELECT type_sn FROM event_types WHERE event_type = $1",
                    "INSERT INTO event_types (event_type) VALUES ($1) ON CONFLICT DO NOTHING",
                    "SELECT event_type FROM event_types WHERE type_sn = $1",
                    "SELECT event_type, type_sn FROM event_types WHERE event_type IN LIST($1)",
                    "event_types (event_type) ON CONFLICT DO NOTHING",
                ],
            ),
            keys: Names::new(
                &memory,
                ["state_key_numbers", "state_keys"],
                [
                    "SELECT key_sn FROM state_keys WHERE state_key = $1",
                    "INSERT INTO state_keys (state_key) VALUES ($1) ON CONFLICT DO NOTHING",
                    "SELECT state_key FROM state_keys WHERE key_sn = $1",
                    "SELECT state_key, key_sn FROM state_keys WHERE state_key IN LIST($1)",
                    "state_keys (state_key) ON CONFLICT DO NOTHING",
                ],
            ),
            servers: Names::new(
                &memory,
                ["server_numbers", "server_names"],
                [
                    "SELECT server_sn FROM servers WHERE server_name = $1",
                    "INSERT INTO servers (server_name) VALUES ($1) ON CONFLICT DO NOTHING",
                    "SELECT server_name FROM servers WHERE server_sn = $1",
                    "SELECT server_name, server_sn FROM servers WHERE server_name IN LIST($1)",
                    "servers (server_name) ON CONFLICT DO NOTHING",
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
