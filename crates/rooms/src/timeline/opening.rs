//! Opening rooms: the head is loaded if it is not in memory, and locked.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use homeserver_core::{Position, RoomSn};
use parking_lot::Mutex as SyncMutex;
use room_engine::RoomVersion;
use ruma::OwnedRoomId;
use storage::StorageError;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{ATTEMPTS, Timeline};
use crate::RoomError;
use crate::head::Head;
use crate::open_room::{HeadSlot, OpenRoom, Submitted};

/// After so many attempts in which other nodes were faster, the log is held during the next one, so that they cannot write.
const HELD_AFTER: usize = 3;
/// How long reading the log may take before an event is built again.
const READ_LOG_LIMIT: Duration = Duration::from_secs(10);

/// The last failure to reach the database. Requests that waited for a room while another one found the database
/// unreachable fail with it: otherwise each would wait for the timeout of the connection, one after the other.
#[derive(Default)]
pub(super) struct Outage(SyncMutex<Option<(Instant, String)>>);

impl Outage {
    fn note(&self, error: &RoomError) {
        if let RoomError::Storage(StorageError::Unavailable(reason)) = error {
            *self.0.lock() = Some((Instant::now(), reason.clone()));
        }
    }

    /// Fails if another request has failed since `began`.
    fn share(&self, began: Instant) -> Result<(), RoomError> {
        match &*self.0.lock() {
            Some((at, reason)) if *at >= began => Err(StorageError::Unavailable(reason.clone()).into()),
            _ => Ok(()),
        }
    }
}

impl Timeline {
    /// Locks the head of a room. Other requests that build on it wait until the room is submitted or dropped.
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
            *guard = self.load_head(room_sn).await.inspect_err(|error| self.outage.note(error))?;
        }
        if guard.is_none() {
            return Err(RoomError::NoSuchRoom);
        }
        Ok(self.opened(slot, guard))
    }

    /// Opens a room to build on it; after some attempts at which other nodes were faster, while the log is held.
    pub(super) async fn open_to_build(&self, room_sn: RoomSn, attempt: usize) -> Result<OpenRoom, RoomError> {
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
        // The log is held after all earlier writes, so the stored head lacks none of them.
        *guard = Head::load(&self.database, &self.interned, room_sn).await?;
        if guard.is_none() {
            return Err(RoomError::NoSuchRoom);
        }
        let mut room = self.opened(slot, guard);
        room.held = Some(held);
        Ok(room)
    }

    /// Reads what other nodes have written. The head of a room is read from the database, but its audience is kept up to date by the
    /// log: a member whom another node has let in a moment ago would have no unread count of the event.
    async fn read_log(&self) -> Result<(), StorageError> {
        self.database.catch_up(Position(i64::MAX), READ_LOG_LIMIT).await.map(drop)
    }

    /// The stored head, once all submitted events are stored: without one of them the rules would judge by an old state.
    async fn load_head(&self, room_sn: RoomSn) -> Result<Option<Head>, RoomError> {
        self.database.appends_settled().await?;
        Head::load(&self.database, &self.interned, room_sn).await
    }

    /// Opens a room once everything is stored that was submitted: the database then says of the room what its head says.
    ///
    /// # Errors
    /// As [`Timeline::open`], or [`RoomError::Contended`] if other nodes were faster in every attempt.
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

    /// Whether another process has moved the room on since the head was read that refused an event: the new head may allow it.
    pub(super) async fn is_behind(&self, room: &OpenRoom, error: &RoomError) -> Result<bool, RoomError> {
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

    /// Locks a room that this server enters, known here or not. Nothing can be built on it.
    pub(crate) async fn open_to_enter(&self, room_sn: RoomSn) -> Result<OpenRoom, RoomError> {
        let (slot, mut guard) = self.lock(room_sn).await;
        *guard = None;
        self.database.appends_settled().await?;
        Ok(self.opened(slot, guard))
    }

    /// The head of a room that does not exist yet. The room exists once a create event is staged, submitted and stored.
    /// `room_id` is given where the room version does not derive it from the create event.
    pub async fn open_new(&self, room_id: Option<OwnedRoomId>, room_version: RoomVersion) -> OpenRoom {
        let head = Arc::new(Mutex::new(Some(Head::of_new_room(room_id, room_version))));
        let slot = HeadSlot { head, head_bytes: Arc::default(), is_behind: Arc::default() };
        let guard = slot.head.clone().lock_owned().await;
        let mut room = self.opened(slot, guard);
        room.now = self.unique_creation_time();
        room
    }

    /// Keeps the head of a room that was just created.
    pub fn adopt(&self, room_sn: RoomSn, submitted: &Submitted) {
        self.rooms.insert(room_sn, submitted.slot.clone());
    }

    /// A time at which no other room of this process was created: since room version 12 the room ID is a hash of the create
    /// event, and two equal requests at the same moment must not make the same room.
    fn unique_creation_time(&self) -> i64 {
        let mut last = self.last_creation_ms.lock();
        *last = self.clock.now().0.max(*last + 1);
        *last
    }

    /// Locks the slot of a room. A room has one slot: an event built in a second one would be refused for an event built in
    /// the first. If the slot was dropped while we waited, we use the new one.
    async fn lock(&self, room_sn: RoomSn) -> (HeadSlot, OwnedMutexGuard<Option<Head>>) {
        loop {
            let slot = self.rooms.get_or_insert_with(&room_sn, HeadSlot::default);
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

    /// Has the head of a room read again before the next event is built. The slot stays, because other requests may wait
    /// for it.
    pub(super) async fn forget(&self, room_sn: RoomSn) {
        if let Some(slot) = self.rooms.peek(&room_sn) {
            *slot.head.lock().await = None;
        }
    }

    fn opened(&self, slot: HeadSlot, guard: OwnedMutexGuard<Option<Head>>) -> OpenRoom {
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
}
