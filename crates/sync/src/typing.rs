//! Who types in which room.
//!
//! That somebody begins or stops is written and told by the log, as everything that clients see; what is typed on is not. Each
//! node keeps who types in memory, and sees to it that nobody types for longer than they said, or after they have left.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#typing-notifications>

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

/// How long somebody types who does not say for how long.
const USUAL_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest and the shortest time that is granted, whatever the client asks for.
const MAX_TIMEOUT: Duration = Duration::from_secs(120);
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is looked who has stopped without saying so, while somebody types.
const TICK: Duration = Duration::from_secs(1);
/// How many of them one transaction ends: others wait for it.
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

/// Takes notice of users who type, and knows who does.
pub struct Typing {
    database: Database,
    interned: Arc<Interned>,
    clock: Arc<dyn Clock>,
    typists: Arc<Typists>,
}

impl Typing {
    /// Knows who types in the rooms of `database`, and from now on follows its log. Ends what has expired, in one of the
    /// server's `loops`.
    ///
    /// Whoever sees in the log that somebody types finds that here if this was started before what shows the log.
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

    /// The requester types in a room for so long, or (`None`) no longer. Who gives no time types for as long as is usual.
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

    /// Who types in a room, in the order in which they began.
    #[must_use]
    pub fn in_room(&self, room_sn: RoomSn) -> Vec<UserSn> {
        self.typists.rooms.read().get(&room_sn).cloned().unwrap_or_default()
    }
}

/// Who types, as the log has told.
#[derive(Default)]
struct Typists {
    rooms: RwLock<HashMap<RoomSn, Vec<UserSn>>>,
    /// Who left a room while they typed there.
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

/// Ends what nobody ends.
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
                // Whoever leaves stops at once.
                let _ = tokio::time::timeout(TICK, self.typists.bell.notified()).await;
            }
            if let Err(error) = self.end().await {
                tracing::warn!(%error, "who types no longer could not be written");
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
