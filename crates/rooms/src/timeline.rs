//! The one way by which events get into a room.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use accounts::sessions::Requester;
use homeserver_core::{Cache, CacheOptions, Clock, Identity, Position, RoomSn};
use parking_lot::Mutex as SyncMutex;
use push::unread::Audiences;
use room_engine::RoomVersion;
use ruma::{OwnedRoomId, RoomId};
use storage::{
    ClientTransaction, Database, Interned, LogEntry, LogObserver, RoomStates, Step, StorageError, StoredEvent,
};
use tasks::limits::Limit;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::RoomError;
use super::head::{Draft, Head};
use super::open_room::{OpenRoom, Slot, Staged};
use super::transaction_id::TransactionId;

/// How often an event is built anew because the room has moved on, before the sender is told to come back.
pub(super) const ATTEMPTS: usize = 8;

/// After how many of these attempts nobody else writes during the next one.
const HELD_AFTER: usize = 3;

/// How long reading the log may take before an event is built again.
const READ_LOG_LIMIT: Duration = Duration::from_secs(10);

/// A change of a room that looks at its state first, or consists of several events.
pub trait RoomChange: Sync {
    /// What whoever asked for the change is told.
    type Answer: Send;

    /// Stages the events of the change, which are written together; none if there is nothing to change. With them goes
    /// whatever else is to be written in the same transaction. May be called again, if the room moved on in the meantime.
    fn stage(&self, room: &mut OpenRoom) -> impl Future<Output = Result<Changed<Self::Answer>, RoomError>> + Send;
}

/// The answer to a change, and what else is to be written in its transaction.
pub type Changed<A> = (A, Option<Box<dyn Step>>);

/// Puts events into rooms.
pub struct Timeline {
    database: Database,
    interned: Arc<Interned>,
    states: Arc<RoomStates>,
    identity: Arc<Identity>,
    clock: Arc<dyn Clock>,
    audiences: Arc<Audiences>,
    rooms: Cache<RoomSn, Slot>,
    last_creation_ms: SyncMutex<i64>,
    outage: Outage,
    signature_checks: Arc<Limit>,
}

/// The last failure to reach the database. Those who wait for a room while one of them finds out share what it found:
/// otherwise each would find out anew, one after the other.
#[derive(Default)]
struct Outage(SyncMutex<Option<(Instant, String)>>);

impl Outage {
    fn note(&self, error: &RoomError) {
        if let RoomError::Storage(StorageError::Unavailable(reason)) = error {
            *self.0.lock() = Some((Instant::now(), reason.clone()));
        }
    }

    /// Fails if somebody has failed since `began`.
    fn share(&self, began: Instant) -> Result<(), RoomError> {
        match &*self.0.lock() {
            Some((at, reason)) if *at >= began => Err(StorageError::Unavailable(reason.clone()).into()),
            _ => Ok(()),
        }
    }
}

impl Timeline {
    /// The timelines of the rooms in `database`, for whose members `audiences` evaluates what comes into them. So many
    /// signatures are checked at once as `signature_checks` allows.
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
        // A head that is in use does not become old, and one that is not is one read.
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

    /// Follows the log from now on: a room to which another process writes is read again before something is built on it.
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
        transaction_id: Option<TransactionId<'_>>,
    ) -> Result<Arc<StoredEvent>, RoomError> {
        let room_sn = self.find(room_id).await?;
        let within_its_scope = |type_sn| Some(transaction_id?.within_its_scope(requester, type_sn));
        for attempt in 0..ATTEMPTS {
            // Nothing was sent under a type that is not known, and what is refused must not make it known.
            let transaction = self.interned.find_type(&draft.event_type).await?.and_then(within_its_scope);
            // At first the writer is trusted to refuse a repetition: there is hardly ever one.
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
                // Its commit may be under way: the next look, after a write has gone through, tells.
                drop(room);
                self.database.write(async |_| Ok(())).await?;
                if self.sent_before(room_sn, key).await?.is_none() {
                    self.forget(room_sn).await;
                }
                continue;
            }
            if let Err(error) = room.stage(requester.user_sn, &requester.user_id, draft).await {
                if self.is_behind(&room, &error).await? {
                    drop(room);
                    self.forget(room_sn).await;
                    continue;
                }
                drop(room);
                // What was sent before is answered again, though its sender might not send it now.
                return match &transaction {
                    Some(key) => self.sent_before(room_sn, key).await?.ok_or(error),
                    None => Err(error),
                };
            }
            room.transaction = within_its_scope(self.interned.event_type(&draft.event_type).await?);
            match room.commit(None).await?.stored().await {
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
    /// What the change fails with, or [`RoomError::Contended`] if others were faster again and again.
    pub async fn change<C: RoomChange>(&self, room_sn: RoomSn, change: &C) -> Result<C::Answer, RoomError> {
        for attempt in 0..ATTEMPTS {
            let mut room = self.open_to_build(room_sn, attempt).await?;
            let (answer, also) = match change.stage(&mut room).await {
                Ok(changed) => changed,
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
            match room.commit(also).await?.stored().await {
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

    /// Locks the end of a room. Others who want to build on it wait until the guard is committed or dropped.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if the room has no events.
    #[tracing::instrument(name = "open_room", level = "debug", skip_all)]
    pub async fn open(&self, room_sn: RoomSn) -> Result<OpenRoom, RoomError> {
        let began = Instant::now();
        let (slot, mut guard) = self.lock(room_sn).await;
        if slot.is_behind.swap(false, Ordering::AcqRel) {
            *guard = None;
        }
        if guard.is_none() {
            self.outage.share(began)?;
            let loaded = self.load_head(room_sn).await;
            *guard = loaded.inspect_err(|error| self.outage.note(error))?;
        }
        if guard.is_none() {
            return Err(RoomError::NoSuchRoom);
        }
        Ok(self.guarded(slot, guard))
    }

    /// As [`Timeline::open`]; while the log is held, after some attempts at which other processes were faster.
    async fn open_to_build(&self, room_sn: RoomSn, attempt: usize) -> Result<OpenRoom, RoomError> {
        if attempt < HELD_AFTER {
            if attempt > 0 {
                self.read_log().await?;
            }
            return self.open(room_sn).await;
        }
        let (slot, mut guard) = self.lock(room_sn).await;
        let held = self.database.hold_log().await?;
        self.read_log().await?;
        slot.is_behind.store(false, Ordering::Release);
        // Everything that was under way is stored.
        *guard = Head::load(&self.database, &self.interned, room_sn).await?;
        if guard.is_none() {
            return Err(RoomError::NoSuchRoom);
        }
        let mut room = self.guarded(slot, guard);
        room.held = Some(held);
        Ok(room)
    }

    /// Reads what other processes have written. The head of a room is read from the database, but its audience is kept up to date by the
    /// log: a member whom another process has let in a moment ago would have no unread count of the event.
    async fn read_log(&self) -> Result<(), StorageError> {
        self.database.catch_up(Position(i64::MAX), READ_LOG_LIMIT).await.map(drop)
    }

    /// The head as it is stored, with what is under way: a head that lacks an event which is stored soon after would have the rules
    /// judge by a state that is over.
    async fn load_head(&self, room_sn: RoomSn) -> Result<Option<Head>, RoomError> {
        self.database.appends_settled().await?;
        Head::load(&self.database, &self.interned, room_sn).await
    }

    /// As [`Timeline::open`], once everything is stored that was under way: what the database says of the room is what it is.
    ///
    /// # Errors
    /// As [`Timeline::open`], or [`RoomError::Contended`] if other processes were faster again and again.
    pub async fn open_settled(&self, room_sn: RoomSn) -> Result<OpenRoom, RoomError> {
        for _ in 0..ATTEMPTS {
            let mut room = self.open(room_sn).await?;
            if self.is_settled(&room).await? {
                return Ok(room);
            }
            // Writes are settled in their order.
            self.database.write(async |_| Ok(())).await?;
            if self.is_settled(&room).await? {
                return Ok(room);
            }
            room.is_changed = true;
        }
        Err(RoomError::Contended)
    }

    /// Whether the room was refused something by a head that another process has moved on: as the room is now it may be allowed.
    async fn is_behind(&self, room: &OpenRoom, error: &RoomError) -> Result<bool, RoomError> {
        if room.held.is_some() || matches!(error, RoomError::Storage(_)) || room.head().is_err() {
            return Ok(false);
        }
        self.database.appends_settled().await?;
        Ok(!self.is_settled(room).await?)
    }

    async fn is_settled(&self, room: &OpenRoom) -> Result<bool, RoomError> {
        let head = room.head()?;
        let stored = self.database.room_head(head.room_sn).await?;
        Ok(stored.is_some_and(|stored| stored.version == head.version))
    }

    /// The head of a room that does not exist yet. The room exists once a create event is staged and committed.
    /// `room_id` is given where the room version does not derive it from the create event.
    pub async fn open_new(&self, room_id: Option<OwnedRoomId>, room_version: RoomVersion) -> OpenRoom {
        let head = Arc::new(Mutex::new(Some(Head::of_new_room(room_id, room_version))));
        let slot = Slot { head, head_bytes: Arc::default(), is_behind: Arc::default() };
        let guard = slot.head.clone().lock_owned().await;
        let mut room = self.guarded(slot, guard);
        room.now = self.unique_creation_time();
        room
    }

    /// A time that no other room of this process was created at: since room version 12 the room ID is a hash of the create
    /// event, and two equal requests at the same moment must not make the same room.
    fn unique_creation_time(&self) -> i64 {
        let mut last = self.last_creation_ms.lock();
        *last = self.clock.now().0.max(*last + 1);
        *last
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

    pub(super) fn states(&self) -> &RoomStates {
        &self.states
    }

    pub(super) fn signature_checks(&self) -> &Arc<Limit> {
        &self.signature_checks
    }

    pub(super) fn audiences(&self) -> &Audiences {
        &self.audiences
    }

    fn slot(&self, room_sn: RoomSn) -> Slot {
        self.rooms.get_or_insert_with(&room_sn, Slot::default)
    }

    /// There is one slot for a room, because what is built in one would be refused for what is built in the other. Whoever waited
    /// for a slot that was dropped meanwhile takes its successor.
    async fn lock(&self, room_sn: RoomSn) -> (Slot, OwnedMutexGuard<Option<Head>>) {
        loop {
            let slot = self.slot(room_sn);
            let guard = slot.head.clone().lock_owned().await;
            match self.rooms.peek(&room_sn) {
                Some(current) if !Arc::ptr_eq(&current.head, &slot.head) => {}
                Some(_) => return (slot, guard),
                None => {
                    self.rooms.insert(room_sn, slot.clone());
                    return (slot, guard);
                }
            }
        }
    }

    /// Has the head of a room read again before the next event is built. The slot stays: others may wait for it, and would build
    /// on what was in it.
    async fn forget(&self, room_sn: RoomSn) {
        if let Some(slot) = self.rooms.peek(&room_sn) {
            *slot.head.lock().await = None;
        }
    }

    fn guarded(&self, slot: Slot, guard: OwnedMutexGuard<Option<Head>>) -> OpenRoom {
        OpenRoom {
            slot,
            rooms: self.rooms.clone(),
            guard,
            database: self.database.clone(),
            interned: self.interned.clone(),
            identity: self.identity.clone(),
            audiences: self.audiences.clone(),
            now: self.clock.now().0,
            staged: Vec::new(),
            staged_names: Vec::new(),
            joined_change: 0,
            invited_change: 0,
            transaction: None,
            keeps_guests_out: false,
            is_changed: false,
            held: None,
        }
    }

    /// Keeps the head of a room that was just created.
    pub fn adopt(&self, room_sn: RoomSn, staged: &Staged) {
        self.rooms.insert(room_sn, staged.slot.clone());
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
