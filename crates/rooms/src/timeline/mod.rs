//! The one way by which events get into a room.

mod opening;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use accounts::sessions::Requester;
use homeserver_core::{Cache, CacheOptions, Clock, Identity, RoomSn};
use parking_lot::Mutex as SyncMutex;
use push::unread::Audiences;
use ruma::RoomId;
use storage::{
    ClientTransaction, Database, Interned, LogEntry, LogObserver, RoomStates, Step, StorageError, StoredEvent,
};
use tasks::limits::Limit;

use self::opening::Outage;
use super::open_room::{HeadSlot, OpenRoom};
use super::transaction_id::ScopedTransactionId;
use super::{Draft, RoomError};

/// How often an event is built again because the room has moved on, before the sender is told to come back.
pub(super) const ATTEMPTS: usize = 8;

/// A change of a room that looks at its state first, or consists of several events.
pub trait RoomChange: Sync {
    /// What the caller of [`Timeline::change`] gets.
    type Answer: Send;

    /// Stages the events of the change, which are written in one transaction; none if there is nothing to change. Runs
    /// again if the room moved on in the meantime.
    fn stage(&self, room: &mut OpenRoom) -> impl Future<Output = Result<StagedChange<Self::Answer>, RoomError>> + Send;
}

/// The answer to a change, and what else is written in its transaction.
pub type StagedChange<A> = (A, Option<Box<dyn Step>>);

/// Puts events into rooms.
pub struct Timeline {
    database: Database,
    interned: Arc<Interned>,
    states: Arc<RoomStates>,
    identity: Arc<Identity>,
    clock: Arc<dyn Clock>,
    audiences: Arc<Audiences>,
    rooms: Cache<RoomSn, HeadSlot>,
    last_creation_ms: SyncMutex<i64>,
    outage: Outage,
    signature_checks: Arc<Limit>,
}

impl Timeline {
    /// The timelines of the rooms in `database`. `audiences` counts new events as unread for members, and
    /// `signature_checks` limits how many signatures are checked at once.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        states: Arc<RoomStates>,
        identity: Arc<Identity>,
        clock: Arc<dyn Clock>,
        signature_checks: Arc<Limit>,
        audiences: Arc<Audiences>,
    ) -> Self {
        // Heads do not expire: the log of other nodes keeps one that is in use up to date.
        let options = CacheOptions { typical_bytes: 16 << 10, large_bytes: 4 << 20, expires: false };
        let rooms = Cache::with(database.memory(), "room_heads", options);
        Self {
            database,
            interned,
            states,
            identity,
            clock,
            audiences,
            rooms,
            last_creation_ms: SyncMutex::new(0),
            outage: Outage::default(),
            signature_checks,
        }
    }

    /// Follows the log from now on: the head of a room to which another process writes is read again.
    pub fn follow(self: &Arc<Self>) {
        self.database.observe(self.clone());
    }

    /// Sends one event. With a transaction ID, a repetition from the same device on the same path has the answer of the first.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid>
    ///
    /// # Errors
    /// [`RoomError`], with nothing sent.
    pub async fn send(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        draft: &Draft,
        transaction_id: Option<ScopedTransactionId<'_>>,
    ) -> Result<Arc<StoredEvent>, RoomError> {
        let room_sn = self.find(room_id).await?;
        let within_its_scope = |type_sn| Some(transaction_id?.within_its_scope(requester, type_sn));
        for attempt in 0..ATTEMPTS {
            // A type without a number was never sent, and a refused event must not give it one.
            let transaction = self.interned.find_type(&draft.event_type).await?.and_then(within_its_scope);
            // The writer refuses repetitions. They are rare, so the first attempt does not look for one.
            if attempt > 0
                && let Some(key) = &transaction
                && let Some(sent) = self.sent_before(room_sn, key).await?
            {
                return Ok(sent);
            }
            let mut room = self.open_to_build(room_sn, attempt).await?;
            if let Some(key) = &transaction
                && room.head()?.knows_transaction(key)
            {
                // Its commit may be under way. The writer works in order, so after one more write it is over.
                drop(room);
                self.database.write(async |_| Ok(())).await?;
                if self.sent_before(room_sn, key).await?.is_none() {
                    self.forget(room_sn).await;
                }
                continue;
            }
            let staged = match room.check_relation(requester.user_sn, draft).await {
                Ok(()) => room.stage(requester.user_sn, &requester.user_id, draft).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = staged {
                if self.is_behind(&room, &error).await? {
                    drop(room);
                    self.forget(room_sn).await;
                    continue;
                }
                drop(room);
                // A repetition gets its first answer even if the sender may not send any more.
                return match &transaction {
                    Some(key) => self.sent_before(room_sn, key).await?.ok_or(error),
                    None => Err(error),
                };
            }
            room.transaction = within_its_scope(self.interned.event_type(&draft.event_type).await?);
            match room.submit(None).await?.stored().await {
                Ok(mut events) => return events.pop().ok_or(RoomError::Contended),
                Err(RoomError::Contended | RoomError::Storage(StorageError::Constraint(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RoomError::Contended)
    }

    async fn sent_before(
        &self,
        room_sn: RoomSn,
        transaction: &ClientTransaction,
    ) -> Result<Option<Arc<StoredEvent>>, RoomError> {
        let Some(event_id) = self.database.event_of_transaction(room_sn, transaction).await? else {
            return Ok(None);
        };
        Ok(self.database.event_by_id(&event_id).await?.map(Arc::new))
    }

    /// Makes a change to a room, again from the start if the room moved on in the meantime.
    ///
    /// # Errors
    /// The error of the change, or [`RoomError::Contended`] if other nodes were faster in every attempt.
    pub async fn change<C: RoomChange>(&self, room_sn: RoomSn, change: &C) -> Result<C::Answer, RoomError> {
        for attempt in 0..ATTEMPTS {
            let mut room = self.open_to_build(room_sn, attempt).await?;
            let (answer, also) = match change.stage(&mut room).await {
                Ok(staged) => staged,
                Err(error) if self.is_behind(&room, &error).await? => {
                    drop(room);
                    self.forget(room_sn).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if room.staged.is_empty() {
                return Ok(answer);
            }
            match room.submit(also).await?.stored().await {
                Ok(_) => return Ok(answer),
                Err(RoomError::Contended) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RoomError::Contended)
    }

    /// The number of a room that has a timeline here.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if there is none.
    pub async fn find(&self, room_id: &RoomId) -> Result<RoomSn, RoomError> {
        self.interned.find_room(room_id.as_str()).await?.ok_or(RoomError::NoSuchRoom)
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(super) fn interned(&self) -> &Interned {
        &self.interned
    }

    pub(super) fn shared_interned(&self) -> Arc<Interned> {
        self.interned.clone()
    }

    pub(super) fn states(&self) -> &RoomStates {
        &self.states
    }

    pub(super) fn signature_checks(&self) -> &Arc<Limit> {
        &self.signature_checks
    }

    pub(super) fn audiences(&self) -> &Audiences {
        &self.audiences
    }
}

impl LogObserver<LogEntry> for Timeline {
    fn committed(&self, _: &[LogEntry]) {}

    fn committed_elsewhere(&self, entries: &[LogEntry]) {
        for entry in entries {
            if matches!(entry, LogEntry::Event(_) | LogEntry::StateResolved { .. })
                && let Some(slot) = entry.room_sn().and_then(|room_sn| self.rooms.peek(&room_sn))
            {
                slot.is_behind.store(true, Ordering::Release);
            }
        }
    }
}
