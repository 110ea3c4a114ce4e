//! `/sync`: what changed for a user since a position in the log.
//!
//! A request goes through these steps, each in a file of its own:
//!
//! 1. [`changes`] finds which rooms have something new, from the tail of the log that is in memory or, for those who were away
//!    for longer, from the database.
//! 2. [`joined`], [`left`] and [`stripped`] make of each room what the user may see of it, with the help of [`members`]
//!    (lazy-loaded members), [`sieved`] (filtered timelines), [`hidden_state`] and [`summary`].
//! 3. [`answer`] writes it as JSON, copying the stored bytes of events, in another [`form`] if the filter says so.
//!
//! [`large_rooms`] bounds what is in memory of it. What may be large, a first answer, is handed over piece by piece
//! ([`whole`]); any other is made as one.
//!
//! If there is nothing, the request waits: one entry in [`Wakeups`], no polling.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#syncing>

mod answer;
mod changes;
mod counts;
mod devices;
mod form;
mod hidden_state;
mod joined;
mod large_rooms;
mod left;
mod members;
mod presence;
mod receipts;
mod sieved;
mod stripped;
mod summary;
mod typing;
mod unread;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use accounts::filters::{FilterDefinition, RoomEventFilter};
use accounts::ignoring::{Ignored, IgnoredUsers};
use accounts::push_rules::{PUSH_RULES, account_data_content};
use accounts::sessions::Requester;
use event_log::{LogTail, UserRooms, UserRoomsCache, Wakeups};
use homeserver_core::{Clock, Position};
use rooms::RoomError;
use storage::{AccountDataEntry, Database, Interned, KnownState, RoomStates, StorageError, StoredEvent};
use tasks::limits::Limit;
use tokio_util::sync::CancellationToken;

use crate::presence::Presences;
use crate::typing::Typing;
use answer::Answer;
use changes::RoomUpdate;
pub use counts::SyncCounts;
pub use devices::SyncedDevices;
use large_rooms::MEMBERS_AT_ONCE;
use members::SentMembers;
use whole::Pieces;
pub use whole::{LaterPieces, SyncBody};

/// Longest wait that is granted, whatever the client asks for.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// How long it is waited for what other servers have written, for somebody who has seen it already.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Events of a room's timeline where the filter does not say.
const DEFAULT_TIMELINE_LIMIT: usize = 10;
/// Most events of a room's timeline, whatever the filter says.
const MAX_TIMELINE_LIMIT: usize = 500;

/// A request for what is new.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// What the client has seen; `None` at first.
    pub since: Option<Position>,
    /// Up to where the client has the messages to its device, if that is not `since`.
    pub received_to_device: Option<Position>,
    /// How long to wait for something new.
    pub timeout: Duration,
    /// What the client wants to see.
    pub filter: Arc<FilterDefinition>,
    /// Whether the client wants the whole state of its rooms.
    pub full_state: bool,
    /// Whether state is to be that at the end of the timeline, in `state_after`.
    pub use_state_after: bool,
}

impl SyncRequest {
    /// Up to where the client has the messages to its device, if it has seen everything up to `since`.
    fn received(&self, since: Option<Position>) -> Option<Position> {
        let own = self.received_to_device.filter(|_| since == self.since);
        own.min(since).or(since)
    }
}

/// Answers `/sync`.
pub struct Sync {
    database: Database,
    interned: Arc<Interned>,
    states: Arc<RoomStates>,
    clock: Arc<dyn Clock>,
    tail: Arc<LogTail>,
    user_rooms: Arc<UserRoomsCache>,
    ignored_users: Arc<IgnoredUsers>,
    wakeups: Arc<Wakeups>,
    typing: Arc<Typing>,
    presences: Arc<Presences>,
    sent_members: SentMembers,
    initial: Arc<Limit>,
    members_at_once: usize,
    stopping: CancellationToken,
    counters: counts::Counters,
    /// What devices are told of messages and keys.
    devices: Option<SyncedDevices>,
}

/// One pass over what changed in `(from, to]`.
#[derive(Clone, Copy)]
struct Pass<'a> {
    requester: &'a Requester,
    request: &'a SyncRequest,
    rooms: &'a UserRooms,
    /// Whose messages and invitations the user does not want to see.
    ignored: &'a Ignored,
    /// `None` for a first sync.
    from: Option<Position>,
    to: Position,
    /// The messages to the device after this position are new.
    received_to_device: Position,
}

impl Pass<'_> {
    fn timeline_limit(&self) -> usize {
        let limit = self.request.filter.room.0.timeline.0.events.limit.and_then(|limit| usize::try_from(limit).ok());
        limit.unwrap_or(DEFAULT_TIMELINE_LIMIT).min(MAX_TIMELINE_LIMIT)
    }

    fn wants_receipts(&self) -> bool {
        self.wants_ephemeral("m.receipt")
    }

    fn wants_typing(&self) -> bool {
        self.wants_ephemeral("m.typing")
    }

    fn wants_presence(&self) -> bool {
        let filter = &self.request.filter.presence.0;
        filter.includes_type("m.presence") && filter.limit != Some(0)
    }

    fn wants_ephemeral(&self, event_type: &str) -> bool {
        let filter = &self.request.filter.room.0.ephemeral.0.events;
        filter.includes_type(event_type) && filter.limit != Some(0)
    }

    /// Whether the client wants to know of each thread what is unread.
    fn wants_threads(&self) -> bool {
        self.request.filter.room.0.timeline.0.unread_thread_notifications
    }

    fn lazy_loads_members(&self) -> bool {
        self.request.filter.room.0.state.0.lazy_load_members
    }

    /// Whether the client can be shown a room with what is known of its state: all of it, unless it loads members lazily.
    fn can_show(&self, state: &KnownState) -> bool {
        self.lazy_loads_members() || state.was_full_at(self.to)
    }

    /// The position after which things are new.
    fn after(&self) -> Position {
        self.from.unwrap_or(Position::START)
    }
}

impl Sync {
    /// Reads what is new from `tail`, or else from `database`. So many read everything at once as `initial` allows. Requests that
    /// wait are answered when `stopping` is cancelled.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "the state of rooms, who is where and who waits are followed separately"
    )]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        states: Arc<RoomStates>,
        clock: Arc<dyn Clock>,
        tail: Arc<LogTail>,
        user_rooms: Arc<UserRoomsCache>,
        ignored_users: Arc<IgnoredUsers>,
        wakeups: Arc<Wakeups>,
        typing: Arc<Typing>,
        presences: Arc<Presences>,
        initial: Arc<Limit>,
        stopping: CancellationToken,
    ) -> Self {
        let (sent_members, counters) = (SentMembers::new(database.memory()), counts::Counters::default());
        Self {
            database,
            interned,
            states,
            clock,
            tail,
            user_rooms,
            ignored_users,
            wakeups,
            typing,
            presences,
            sent_members,
            initial,
            members_at_once: MEMBERS_AT_ONCE,
            stopping,
            counters,
            devices: None,
        }
    }

    /// Tells devices of their messages, and of keys.
    #[must_use]
    pub fn with_devices(self, devices: SyncedDevices) -> Self {
        Self { devices: Some(devices), ..self }
    }

    /// Has no more than so many members in memory together. A room with half as many is read in pages.
    #[must_use]
    pub fn with_members_at_once(self, members_at_once: usize) -> Self {
        Self { members_at_once, ..self }
    }

    /// What the requests so far came to.
    #[must_use]
    pub fn counts(&self) -> SyncCounts {
        self.counters.read(self.wakeups.woken(), self.wakeups.waiting())
    }

    /// The JSON of the answer: at once if there is something new, else when there is, or when the time is up.
    ///
    /// # Errors
    /// [`RoomError`] if something cannot be read.
    #[tracing::instrument(level = "debug", skip_all, fields(is_initial = request.since.is_none()))]
    pub async fn sync(self: &Arc<Self>, requester: &Requester, request: &SyncRequest) -> Result<SyncBody, RoomError> {
        self.check_log()?;
        let since = match request.since {
            Some(since) if since > self.tail.end() => self.awaited(since).await?,
            since => since,
        };
        self.counters.asked(since.is_none());
        self.note_delivered(requester, request.received(since)).await?;
        let deadline = tokio::time::Instant::now() + request.timeout.min(MAX_WAIT);
        // The work is boxed, so that a request that only waits does not take the room that the work would need.
        let may_wait = !request.timeout.is_zero();
        if since.is_none() || request.full_state {
            return Box::pin(self.begin_whole(requester, request, since)).await;
        }
        let answer = Box::pin(self.answer(requester, request, since)).await?;
        if !may_wait || !answer.is_empty() {
            return self.body(requester, answer).await;
        }
        // What was looked through in vain is not looked through again.
        let mut since = Some(answer.next_batch());
        loop {
            // Entered before looking again, so that nothing is missed in between.
            let entry = self.wakeups.enter(requester.user_sn);
            let answer = Box::pin(self.answer(requester, request, since)).await?;
            if !answer.is_empty() {
                return self.body(requester, answer).await;
            }
            since = Some(answer.next_batch());
            let is_woken = tokio::select! {
                _ = entry => true,
                () = tokio::time::sleep_until(deadline) => {
                    self.counters.timed_out();
                    false
                }
                () = self.stopping.cancelled() => false,
                () = requester.left() => false,
            };
            if !is_woken {
                self.wakeups.leave(requester.user_sn);
                let answer = Box::pin(self.answer(requester, request, since)).await?;
                return self.body(requester, answer).await;
            }
        }
    }

    /// The whole answer, with what is told every time.
    async fn body(&self, requester: &Requester, mut answer: Answer) -> Result<SyncBody, RoomError> {
        self.add_key_counts(requester, &mut answer).await?;
        Ok(SyncBody::Whole(answer.into_json()))
    }

    /// Answers nothing while what other servers write is not known.
    fn check_log(&self) -> Result<(), RoomError> {
        if self.database.lost_log().is_some() { Err(RoomError::LostLog) } else { Ok(()) }
    }

    /// A position that was given out by another server, which this one has not come to yet. One that no server has come to is from a
    /// database that was restored from a backup: its owner starts again.
    async fn awaited(&self, since: Position) -> Result<Option<Position>, RoomError> {
        let is_there = self.database.catch_up(since, CATCH_UP).await?;
        self.check_log()?;
        Ok(is_there.then_some(since))
    }

    async fn answer(
        &self,
        requester: &Requester,
        request: &SyncRequest,
        since: Option<Position>,
    ) -> Result<Answer, RoomError> {
        self.check_log()?;
        let to = self.tail.end();
        let received = request.received(since);
        if since == Some(to) && received == since {
            return Ok(Answer::new(to));
        }
        let rooms = self.user_rooms.of(requester.user_sn).await?;
        let ignored = self.ignored_users.of(requester).await?;
        let received_to_device = received.unwrap_or(Position::START);
        let pass = Pass { requester, request, rooms: &rooms, ignored: &ignored, from: since, to, received_to_device };
        let (mut answer, mut updates) = self.begin_answer(&pass).await?;
        for part in self.divided(&pass, &mut updates).await? {
            self.add_rooms(&pass, part, &mut answer, None).await?;
            // An answer of many rooms must not keep others waiting.
            tokio::task::yield_now().await;
        }
        Ok(answer)
    }

    /// The answer with all but the rooms, and the rooms that are to be added.
    async fn begin_answer(&self, pass: &Pass<'_>) -> Result<(Answer, Vec<RoomUpdate>), RoomError> {
        let mut answer = Answer::new(pass.to);
        let mut changes = self.changes(pass).await?;
        if changes.has_account_data {
            self.add_account_data(pass, &mut answer).await?;
        }
        if self.presences.is_enabled() && pass.wants_presence() {
            self.add_presence(pass, &mut changes, &mut answer).await?;
        }
        self.add_device_news(pass, &mut answer).await?;
        Ok((answer, changes.rooms))
    }

    /// Adds rooms to the answer. What is written of a large one is handed over on the way, if there is a client for that.
    async fn add_rooms(
        &self,
        pass: &Pass<'_>,
        updates: &[RoomUpdate],
        answer: &mut Answer,
        mut out: Option<&mut Pieces>,
    ) -> Result<(), RoomError> {
        let now = self.clock.now();
        self.add_late_account_data(pass, updates, answer).await?;
        for mut room in self.joined_rooms(pass, updates).await? {
            self.add_pdus(pass, &mut room).await?;
            if !answer.begin_joined(&room, pass, now) {
                continue;
            }
            if room.more_members.is_some() {
                let update = updates.iter().find(|update| update.room_sn == room.room_sn);
                let pieces = (&mut *answer, out.as_deref_mut());
                Box::pin(self.add_members(pass, update, &mut room, pieces, now)).await?;
            } else {
                answer.end_joined(&room, pass);
            }
        }
        for mut room in self.left_rooms(pass, updates).await? {
            self.add_pdus(pass, &mut room).await?;
            answer.add_left(&room, pass, now);
        }
        for room in self.stripped_rooms(pass, updates).await? {
            answer.add_stripped(&room);
        }
        Ok(())
    }

    async fn add_account_data(&self, pass: &Pass<'_>, answer: &mut Answer) -> Result<(), RoomError> {
        let filter = &pass.request.filter;
        let changes = self.database.account_data_changes(pass.requester.user_sn, pass.after(), pass.to).await?;
        for change in changes {
            match change.room_sn {
                None if filter.account_data.0.includes_type(&change.data_type) => answer.add_account_data(change),
                None => {}
                Some(room_sn) => {
                    let is_joined = pass.rooms.place(room_sn).is_some_and(|place| place.is_joined());
                    let room_id = self.interned.room_id(room_sn).await?;
                    let is_wanted = filter.room.0.includes_room(&room_id)
                        && filter.room.0.account_data.0.events.includes_type(&change.data_type);
                    if is_joined && is_wanted && pass.can_show(&self.states.of(room_sn)) {
                        answer.add_room_account_data(room_id, change);
                    }
                }
            }
        }
        if filter.account_data.0.includes_type(PUSH_RULES) {
            let stored = self.database.push_rules(pass.requester.user_sn).await?;
            let position = stored.as_ref().map_or(Position::START, |stored| stored.position);
            if pass.from.is_none_or(|from| position > from && position <= pass.to) {
                let content = account_data_content(stored.as_ref(), &pass.requester.user_id);
                let data_type = PUSH_RULES.to_owned();
                answer.add_account_data(AccountDataEntry { room_sn: None, data_type, content, position });
            }
        }
        Ok(())
    }

    /// Adds the account data of rooms that could not be shown before, whenever it was written.
    async fn add_late_account_data(
        &self,
        pass: &Pass<'_>,
        updates: &[RoomUpdate],
        answer: &mut Answer,
    ) -> Result<(), RoomError> {
        let filter = &pass.request.filter.room.0.account_data.0.events;
        for update in updates.iter().filter(|update| update.is_late(pass)) {
            let room_sn = Some(update.room_sn);
            let mut entries = self.database.account_data_of_room(pass.requester.user_sn, room_sn).await?;
            entries.retain(|entry| entry.position <= pass.after() && filter.includes_type(&entry.data_type));
            for entry in entries {
                answer.add_room_account_data(update.room_id.clone(), entry);
            }
        }
        Ok(())
    }

    /// Whether the filter lets the event through.
    async fn passes(&self, filter: &RoomEventFilter, event: &StoredEvent, room_id: &str) -> Result<bool, StorageError> {
        if !filter.includes_room(room_id) {
            return Ok(false);
        }
        if let Some(wanted) = filter.contains_url {
            let content = rooms::wire::member(&event.client_json, "content").unwrap_or_default();
            let has_url = rooms::wire::member(content, "url").is_some_and(|url| url.starts_with(b"\""));
            if has_url != wanted {
                return Ok(false);
            }
        }
        if filter.events.is_open() {
            return Ok(true);
        }
        let event_type = self.interned.type_name(event.type_sn).await?;
        let sender = self.interned.user_id(event.sender_sn).await?;
        Ok(filter.events.includes(&event_type, &sender))
    }

    /// Those of a timeline's events that the filter lets through and that are not of users whom the reader ignores.
    async fn filtered_timeline<E: std::ops::Deref<Target = StoredEvent>>(
        &self,
        pass: &Pass<'_>,
        events: impl IntoIterator<Item = E>,
        room_id: &str,
    ) -> Result<Vec<E>, StorageError> {
        let wanted = events.into_iter().filter(|event| !pass.ignored.hides(event));
        self.filtered(&pass.request.filter.room.0.timeline.0, wanted, room_id).await
    }

    /// Those of the events that the filter lets through.
    async fn filtered<E: std::ops::Deref<Target = StoredEvent>>(
        &self,
        filter: &RoomEventFilter,
        events: impl IntoIterator<Item = E>,
        room_id: &str,
    ) -> Result<Vec<E>, StorageError> {
        let mut wanted = Vec::new();
        for event in events {
            if self.passes(filter, &event, room_id).await? {
                wanted.push(event);
            }
        }
        Ok(wanted)
    }

    /// The state events with these numbers, shared.
    async fn load_events(&self, sns: &[i64]) -> Result<Vec<Arc<StoredEvent>>, StorageError> {
        Ok(self.database.events(sns).await?.into_iter().map(Arc::new).collect())
    }
}
