//! Which users type in which rooms.
//!
//! A user's beginning and end of typing are written into the log, as everything that clients see; renewals are not. Each node keeps
//! the typing users in memory, and ends their typing when its time is up or they leave the room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#typing-notifications>

mod from_servers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use accounts::sessions::Requester;
use homeserver_core::{Clock, RoomSn, UserSn};
use parking_lot::{Mutex, RwLock};
use ruma::RoomId;
use storage::{Database, Engine, Interned, LogEntry, LogObserver, Membership, StorageError};
use tasks::loops::Loops;
use tokio::sync::Notify;

/// How long a user types who gives no timeout.
const USUAL_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest and the shortest timeout that a client can set.
const MAX_TIMEOUT: Duration = Duration::from_secs(120);
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How often expired typing is looked for, while somebody types.
const TICK: Duration = Duration::from_secs(1);
/// Most users whose typing one transaction ends: other writes wait for it.
const AT_ONCE: usize = 50;

/// Why somebody cannot type. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum TypingError {
    /// The user is not in the room, or it is not known.
    #[error("You are not in this room.")]
    NotInRoom,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The users who type in rooms.
pub struct Typing {
    database: Database,
    interned: Arc<Interned>,
    clock: Arc<dyn Clock>,
    typists: Arc<Typists>,
}

impl Typing {
    /// Reads who types in the rooms of `database`, follows its log, and ends expired typing in one of the server's `loops`.
    ///
    /// Start it before anything that shows the log: then a reader who sees in the log that a user types finds the user here.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read who types.
    pub async fn start(
        database: Database,
        interned: Arc<Interned>,
        clock: Arc<dyn Clock>,
        loops: &Loops,
    ) -> Result<Self, StorageError> {
        let typists = Arc::new(Typists::default());
        typists.restore(database.typing().await?);
        database.observe(typists.clone());
        let ending = Arc::new(Ending { database: database.clone(), clock: clock.clone(), typists: typists.clone() });
        loops.spawn("typing", move || ending.clone().run());
        Ok(Self { database, interned, clock, typists })
    }

    /// The requester types in a room, with a timeout if the client gave one, or (`None`) has stopped.
    ///
    /// # Errors
    /// [`TypingError`].
    pub async fn set(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        typing: Option<Option<Duration>>,
    ) -> Result<(), TypingError> {
        let room_sn = self.interned.find_room(room_id.as_str()).await?.ok_or(TypingError::NotInRoom)?;
        let place = self.database.membership(room_sn, requester.user_sn).await?;
        if place.is_none_or(|place| place.membership != Membership::Join) {
            return Err(TypingError::NotInRoom);
        }
        let now = self.clock.now();
        match typing {
            Some(timeout) => {
                let timeout = timeout.unwrap_or(USUAL_TIMEOUT).clamp(MIN_TIMEOUT, MAX_TIMEOUT);
                Ok(self.database.start_typing(room_sn, requester.user_sn, now.plus(timeout)).await?)
            }
            // Clients also say so with every message that they send.
            None if !self.types(room_sn, requester.user_sn).await? => Ok(()),
            None => Ok(self.database.stop_typing(vec![(room_sn, requester.user_sn)], now).await?),
        }
    }

    /// Whether the user types. That they began may have been told to another node just now.
    async fn types(&self, room_sn: RoomSn, user_sn: UserSn) -> Result<bool, StorageError> {
        if self.typists.types(room_sn, user_sn) {
            return Ok(true);
        }
        match self.database.engine() {
            Engine::Sqlite => Ok(false),
            Engine::Postgres => self.database.types(room_sn, user_sn).await,
        }
    }

    /// The users who type in a room, in the order in which they began.
    #[must_use]
    pub fn in_room(&self, room_sn: RoomSn) -> Vec<UserSn> {
        self.typists.rooms.read().get(&room_sn).cloned().unwrap_or_default()
    }
}

/// The users who type, as the log tells.
#[derive(Default)]
struct Typists {
    rooms: RwLock<HashMap<RoomSn, Vec<UserSn>>>,
    /// Users who left a room while they typed there.
    gone: Mutex<Vec<(RoomSn, UserSn)>>,
    /// Rung when there is something to do for [`Ending`].
    bell: Notify,
}

impl Typists {
    fn restore(&self, typing: Vec<(RoomSn, UserSn)>) {
        let mut rooms = self.rooms.write();
        for (room_sn, user_sn) in typing {
            rooms.entry(room_sn).or_default().push(user_sn);
        }
    }

    fn types(&self, room_sn: RoomSn, user_sn: UserSn) -> bool {
        self.rooms.read().get(&room_sn).is_some_and(|typists| typists.contains(&user_sn))
    }

    fn changed(&self, room_sn: RoomSn, user_sn: UserSn, has_ended: bool) {
        let mut rooms = self.rooms.write();
        let typists = rooms.entry(room_sn).or_default();
        typists.retain(|typist| *typist != user_sn);
        if !has_ended {
            typists.push(user_sn);
            self.bell.notify_one();
        } else if typists.is_empty() {
            rooms.remove(&room_sn);
        }
    }
}

impl LogObserver<LogEntry> for Typists {
    fn committed(&self, entries: &[LogEntry]) {
        for entry in entries {
            if let LogEntry::Typing { room_sn, user_sn, has_ended, .. } = entry {
                self.changed(*room_sn, *user_sn, *has_ended);
            }
            if let Some((room_sn, user_sn, membership)) = entry.membership_change()
                && membership != Membership::Join
                && self.types(room_sn, user_sn)
            {
                self.gone.lock().push((room_sn, user_sn));
                self.bell.notify_one();
            }
        }
    }
}

/// Ends typing that no client ends.
struct Ending {
    database: Database,
    clock: Arc<dyn Clock>,
    typists: Arc<Typists>,
}

impl Ending {
    async fn run(self: Arc<Self>) {
        loop {
            let is_idle = self.typists.rooms.read().is_empty() && self.typists.gone.lock().is_empty();
            if is_idle {
                self.typists.bell.notified().await;
            } else {
                // A user who leaves the room stops at once: the bell rings.
                let _ = tokio::time::timeout(TICK, self.typists.bell.notified()).await;
            }
            if let Err(error) = self.end().await {
                tracing::warn!(%error, "the end of typing could not be written");
                tokio::time::sleep(TICK).await;
            }
        }
    }

    async fn end(&self) -> Result<(), StorageError> {
        let now = self.clock.now();
        // Forgotten only when that is written.
        let gone = self.typists.gone.lock().clone();
        if !gone.is_empty() {
            let written = gone.len();
            self.database.stop_typing(gone, now).await?;
            self.typists.gone.lock().drain(..written);
        }
        let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
        while self.database.end_expired_typing(now, now.plus(MAX_TIMEOUT), limit).await? >= AT_ONCE {}
        Ok(())
    }
}
