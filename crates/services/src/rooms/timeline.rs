//! The one way by which events get into a room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use homeserver_core::{Cache, CacheOptions, Clock, HeapSize, RoomSn, UserSn};
use parking_lot::Mutex as SyncMutex;
use room_engine::auth::{PowerLevel, PowerLevels, may_redact};
use room_engine::{Pdu, RoomVersion};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use storage::{
    Append, AppendOutcome, Database, Interned, Membership, NewEvent, RoomStates, Standing, Step, StorageError,
    StoredEvent, later_version,
};
use tasks::limits::Limit;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::RoomError;
use super::head::{Draft, Head, HeadEvent, StateEvent, TransactionKey};
use super::receiving::is_joint;
use crate::identity::Identity;
use crate::sessions::Requester;
use crate::unread::Audiences;

/// How often an event is built anew because the room has moved on, before the sender is told to come back.
pub(super) const ATTEMPTS: usize = 8;

/// A room's head, or nothing if it has to be read (again). Whoever holds the lock may build events.
#[derive(Clone, Default)]
struct Slot {
    head: Arc<Mutex<Option<Head>>>,
    /// What the head takes, as its last holder found it.
    head_bytes: Arc<AtomicUsize>,
}

impl HeapSize for Slot {
    fn heap_bytes(&self) -> usize {
        /// The two with their reference counts, as the allocator gives them.
        const FIXED_BYTES: usize = size_of::<Mutex<Option<Head>>>() + 64;
        FIXED_BYTES + self.head_bytes.load(Ordering::Relaxed)
    }
}

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
        let options = CacheOptions { typical_bytes: 16 << 10, large_bytes: 256 << 10, expires: false };
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

    /// Sends one event. With a transaction ID, a repetition from the same device has the answer of the first.
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
        transaction_id: Option<&str>,
    ) -> Result<Arc<StoredEvent>, RoomError> {
        let room_sn = self.find(room_id).await?;
        let transaction = match (requester.device_sn, transaction_id) {
            (Some(device_sn), Some(id)) => {
                Some((device_sn, self.interned.event_type(&draft.event_type).await?, Box::from(id)))
            }
            _ => None,
        };
        for attempt in 0..ATTEMPTS {
            // At first the writer is trusted to refuse a repetition: there is hardly ever one.
            if attempt > 0
                && let Some(key) = &transaction
                && let Some(sent) = self.sent_before(room_sn, key).await?
            {
                return Ok(sent);
            }
            let mut room = self.open(room_sn).await?;
            if let Some(key) = &transaction {
                if room.head()?.knows_transaction(key) {
                    // Its commit may be under way: the next look, after a write has gone through, tells.
                    drop(room);
                    self.database.write(async |_| Ok(())).await?;
                    if self.sent_before(room_sn, key).await?.is_none() {
                        self.forget(room_sn).await;
                    }
                    continue;
                }
                room.transaction = Some(key.clone());
            }
            room.stage(requester.user_sn, &requester.user_id, draft).await?;
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
        (device_sn, type_sn, id): &TransactionKey,
    ) -> Result<Option<Arc<StoredEvent>>, RoomError> {
        let Some(event_id) = self.database.event_of_transaction(*device_sn, room_sn, *type_sn, id).await? else {
            return Ok(None);
        };
        Ok(self.database.event_by_id(&event_id).await?.map(Arc::new))
    }

    /// Makes a change to a room, again from the start if the room moved on in the meantime.
    ///
    /// # Errors
    /// What the change fails with, or [`RoomError::Contended`] if others were faster again and again.
    pub async fn change<C: RoomChange>(&self, room_sn: RoomSn, change: &C) -> Result<C::Answer, RoomError> {
        for _ in 0..ATTEMPTS {
            let mut room = self.open(room_sn).await?;
            let (answer, also) = change.stage(&mut room).await?;
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
        if guard.is_none() {
            self.outage.share(began)?;
            let loaded = Head::load(&self.database, &self.interned, room_sn).await;
            *guard = loaded.inspect_err(|error| self.outage.note(error))?;
        }
        if guard.is_none() {
            return Err(RoomError::NoSuchRoom);
        }
        Ok(self.guarded(slot, guard))
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

    async fn is_settled(&self, room: &OpenRoom) -> Result<bool, RoomError> {
        let head = room.head()?;
        let stored = self.database.room_head(head.room_sn).await?;
        Ok(stored.is_some_and(|stored| stored.version == head.version))
    }

    /// The head of a room that does not exist yet. The room exists once a create event is staged and committed.
    /// `room_id` is given where the room version does not derive it from the create event.
    pub async fn open_new(&self, room_id: Option<OwnedRoomId>, room_version: RoomVersion) -> OpenRoom {
        let head = Arc::new(Mutex::new(Some(Head::of_new_room(room_id, room_version))));
        let slot = Slot { head, head_bytes: Arc::default() };
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
            joined_change: 0,
            invited_change: 0,
            transaction: None,
            is_changed: false,
        }
    }

    /// Keeps the head of a room that was just created.
    pub fn adopt(&self, room_sn: RoomSn, staged: &Staged) {
        self.rooms.insert(room_sn, staged.slot.clone());
    }
}

/// The end of a room, locked. Dropped without [`OpenRoom::commit`], it leaves no trace.
pub struct OpenRoom {
    slot: Slot,
    rooms: Cache<RoomSn, Slot>,
    pub(super) guard: OwnedMutexGuard<Option<Head>>,
    database: Database,
    interned: Arc<Interned>,
    identity: Arc<Identity>,
    pub(super) audiences: Arc<Audiences>,
    now: i64,
    pub(super) staged: Vec<NewEvent>,
    joined_change: i64,
    invited_change: i64,
    transaction: Option<TransactionKey>,
    /// Whether the head has moved by what is staged.
    is_changed: bool,
}

impl OpenRoom {
    pub(super) fn head(&self) -> Result<&Head, RoomError> {
        self.guard.as_ref().ok_or(RoomError::NoSuchRoom)
    }

    /// The room's ID; `None` before the create event of a room whose ID is derived from it.
    #[must_use]
    pub fn room_id(&self) -> Option<&RoomId> {
        self.guard.as_ref()?.room_id.as_deref()
    }

    /// The room's version.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if the room is gone.
    pub fn room_version(&self) -> Result<RoomVersion, RoomError> {
        Ok(self.head()?.room_version)
    }

    /// The event at one place in the room's state, what is staged included.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn state(&mut self, event_type: &str, state_key: &str) -> Result<Option<Pdu>, RoomError> {
        Ok(self.state_event(event_type, state_key).await?.map(|event| event.pdu))
    }

    async fn state_event(&mut self, event_type: &str, state_key: &str) -> Result<Option<StateEvent>, RoomError> {
        let head = self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?;
        head.state(&self.database, &self.interned, event_type, state_key).await
    }

    /// What a user is to the room; `None` if there is no member event.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn membership(&mut self, user_id: &UserId) -> Result<Option<room_engine::Membership>, RoomError> {
        Ok(self.state("m.room.member", user_id.as_str()).await?.and_then(|event| event.membership()))
    }

    /// The power levels in force.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn power_levels(&mut self) -> Result<PowerLevels, RoomError> {
        let create = self.state("m.room.create", "").await?.ok_or(RoomError::NoSuchRoom)?;
        let levels = self.state("m.room.power_levels", "").await?;
        Ok(PowerLevels::new(&create, levels.as_ref())?)
    }

    /// Builds an event, checks it against the room's rules, and adds it to what will be committed.
    ///
    /// # Errors
    /// [`RoomError::Refused`] if the rules do not allow it, and others.
    pub async fn stage(&mut self, sender_sn: UserSn, sender: &UserId, draft: &Draft) -> Result<Pdu, RoomError> {
        let redacted = match &draft.redacts {
            Some(target) => self.redaction_of(sender, target).await?,
            None => None,
        };
        let replaces = match &draft.state_key {
            Some(state_key) => self.state_event(&draft.event_type, state_key).await?,
            None => None,
        };
        let head = self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?;
        let HeadEvent { event, number, auth_events, previous_in_chain } =
            head.build(&self.database, &self.interned, &self.identity, sender, draft, self.now).await?;
        self.is_changed = true;
        if let Some((pdu, _)) = &redacted {
            head.redact(pdu);
        }
        let membership = self.note_membership(&event.pdu, replaces.as_ref()).await?;
        let state_key_sn = match &draft.state_key {
            Some(state_key) => Some(self.interned.state_key(state_key).await?),
            None => None,
        };
        self.staged.push(NewEvent {
            number,
            event_id: event.pdu.event_id().as_str().into(),
            type_sn: self.interned.event_type(&draft.event_type).await?,
            state_key_sn,
            sender_sn,
            origin_server_ts: homeserver_core::Timestamp(event.pdu.origin_server_ts()),
            depth: event.pdu.depth(),
            client_json: event.client_json,
            federation_json: event.federation_json,
            unread: Arc::default(),
            replaces: replaces.map(|replaced| (replaced.number, replaced.pdu.client_json().clone())),
            membership,
            redacts: redacted.map(|(pdu, number)| (number, pdu.client_json().clone())),
            standing: if is_joint(&event.pdu) { Standing::Hidden } else { Standing::Accepted },
            auth_events,
            previous_in_chain,
            state_before: None,
        });
        Ok(event.pdu)
    }

    /// The event to redact in its redacted form, if it can be found and the sender may redact it.
    async fn redaction_of(
        &mut self,
        sender: &UserId,
        target: &ruma::EventId,
    ) -> Result<Option<(Pdu, storage::EventNumber)>, RoomError> {
        let stored = self.database.stored_pdu_by_id(target.as_str()).await?;
        let room_sn = self.head()?.room_sn;
        let Some(stored) = stored.filter(|stored| stored.room_sn == room_sn) else {
            return Err(RoomError::NotFound(format!("There is no event {target} in this room.")));
        };
        let levels = self.power_levels().await?;
        let (pdu, number) = self.head()?.parse(stored)?;
        if pdu.sender() != sender && !may_redact_others(&levels, sender, pdu.sender()) {
            return Err(RoomError::Forbidden("You may not redact events of others in this room.".to_owned()));
        }
        if matches!(pdu.event_type(), "m.room.create" | "m.room.server_acl") {
            return Err(RoomError::Forbidden(format!(
                "{} cannot be redacted: the room would break.",
                pdu.event_type()
            )));
        }
        let redacted = pdu.redacted()?;
        Ok(Some((redacted, number)))
    }

    /// What the event does to the numbers of members.
    async fn note_membership(
        &mut self,
        pdu: &Pdu,
        replaces: Option<&StateEvent>,
    ) -> Result<Option<(UserSn, Membership)>, RoomError> {
        let (Some("m.room.member"), Some(user_id)) = (Some(pdu.event_type()), pdu.state_key()) else {
            return Ok(None);
        };
        let Some(after) = pdu.membership().and_then(|it| Membership::from_word(it.as_str())) else { return Ok(None) };
        let before = replaces.and_then(|event| event.pdu.membership());
        let before = before.and_then(|it| Membership::from_word(it.as_str()));
        let change = |which| i64::from(after == which) - i64::from(before == Some(which));
        self.joined_change += change(Membership::Join);
        self.invited_change += change(Membership::Invite);
        let user_id = OwnedUserId::try_from(user_id).map_err(|error| RoomError::Invalid(error.to_string()))?;
        Ok(Some((self.interned.user(user_id.as_str()).await?, after)))
    }

    /// Hands what was staged to the writer and unlocks the room. `also` is written in the same transaction.
    ///
    /// # Errors
    /// [`RoomError::Storage`] if the writer takes no more.
    pub async fn commit(mut self, also: Option<Box<dyn Step>>) -> Result<Staged, RoomError> {
        if self.head()?.version == 0 {
            let room_id = self.room_id().ok_or(RoomError::NoSuchRoom)?.to_owned();
            let room_sn = self.interned.room(room_id.as_str()).await?;
            self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?.room_sn = room_sn;
        }
        self.evaluate_staged().await?;
        let transaction = self.transaction.take();
        let head = self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?;
        let new_version = later_version(head.version);
        let append = Append {
            room_sn: head.room_sn,
            room_version: head.room_version.as_str().into(),
            expected_version: head.version,
            new_version,
            events: std::mem::take(&mut self.staged),
            resolved: None,
            extremities: None,
            transaction: transaction.as_ref().map(|(device_sn, _, id)| (*device_sn, id.clone())),
            joined_change: self.joined_change,
            invited_change: self.invited_change,
            also,
        };
        head.version = new_version;
        if let Some(key) = transaction {
            head.remember_transaction(key);
        }
        let room_sn = head.room_sn;
        let outcome = self.database.append(append).await?;
        self.is_changed = false;
        Ok(Staged { room_sn, outcome, slot: self.slot.clone() })
    }
}

impl OpenRoom {
    /// Stores an append that was not built on the head in memory. The room stays locked until it is stored: the head is
    /// read again before the next event, and what is read earlier would be out of date.
    ///
    /// # Errors
    /// As [`Staged::stored`].
    pub(super) async fn append(mut self, append: Append) -> Result<(), RoomError> {
        *self.guard = None;
        match outcome_of(self.database.append(append).await?).await? {
            AppendOutcome::Appended(_) => Ok(()),
            AppendOutcome::Stale => Err(RoomError::Contended),
        }
    }
}

impl OpenRoom {
    /// Has the head count with what it takes now, if that is much more or less than before.
    fn weigh(&self) {
        let bytes = self.guard.as_ref().map_or(0, Head::heap_bytes);
        let before = self.slot.head_bytes.load(Ordering::Relaxed);
        if bytes.abs_diff(before) > before / 8 {
            self.slot.head_bytes.store(bytes, Ordering::Relaxed);
            if let Some(head) = &*self.guard {
                self.rooms.reweigh(&head.room_sn);
            }
        }
    }
}

impl Drop for OpenRoom {
    fn drop(&mut self) {
        if self.is_changed {
            // The head has moved, but what moved it will never be written: it is read again.
            *self.guard = None;
        }
        self.weigh();
    }
}

/// Events that are on their way to the database.
pub struct Staged {
    room_sn: RoomSn,
    outcome: oneshot::Receiver<Result<AppendOutcome, StorageError>>,
    slot: Slot,
}

impl Staged {
    /// The room.
    #[must_use]
    pub fn room_sn(&self) -> RoomSn {
        self.room_sn
    }

    /// Waits until the events are stored.
    ///
    /// # Errors
    /// [`RoomError::Contended`] if the room had moved on, or [`RoomError::Storage`]; nothing was stored then.
    #[tracing::instrument(name = "wait_for_commit", level = "debug", skip_all)]
    pub async fn stored(self) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        match outcome_of(self.outcome).await {
            Ok(AppendOutcome::Appended(events)) => Ok(events),
            Ok(AppendOutcome::Stale) => {
                *self.slot.head.lock().await = None;
                Err(RoomError::Contended)
            }
            Err(error) => {
                *self.slot.head.lock().await = None;
                Err(error.into())
            }
        }
    }
}

async fn outcome_of(
    outcome: oneshot::Receiver<Result<AppendOutcome, StorageError>>,
) -> Result<AppendOutcome, StorageError> {
    outcome.await.map_err(|_| StorageError::Unavailable("the database is closed".to_owned())).flatten()
}

/// Local users redact events of others only by their power level; being of the same server is enough for servers only.
fn may_redact_others(levels: &PowerLevels, sender: &UserId, redacted_sender: &UserId) -> bool {
    let is_remote = sender.server_name() != redacted_sender.server_name();
    (is_remote && may_redact(levels, sender, redacted_sender))
        || levels.user_level(sender) >= PowerLevel::Finite(levels.redact())
}
