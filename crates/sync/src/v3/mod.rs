//! `/sync`: what changed for a user since a position in the log.
//!
//! A request goes through these steps:
//!
//! 1. The [providers](crate::providers) find which rooms have something new, and what that is.
//! 2. [`joined`] and [`left`] put together what the user may see of each room, and remember which members a client has
//!    ([`members`]).
//! 3. [`bundling`] finds what is told of the relations of events together with them.
//! 4. [`answer`] writes it as JSON, copying the stored bytes of events, in another [`form`] if the filter says so.
//!
//! [`large_rooms`] bounds what is in memory of it. What may be large, a first answer, is handed over piece by piece
//! ([`whole`]); any other is made as one.
//!
//! If there is nothing, the request waits: one entry in [`Wakeups`], no polling.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#syncing>

mod answer;
mod bundling;
mod counts;
mod devices;
mod form;
mod joined;
mod large_rooms;
mod left;
mod members;
mod unread;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use accounts::sessions::Requester;
use event_log::Wakeups;
use homeserver_core::{Clock, Position};
use rooms::RoomError;
use tasks::limits::Limit;
use tokio_util::sync::CancellationToken;

use answer::Answer;
pub use counts::SyncCounts;
pub use devices::SyncedDevices;
use large_rooms::MEMBERS_AT_ONCE;
use members::SentMembers;
use whole::Pieces;
pub use whole::{LaterPieces, SyncBody};

use crate::providers::changes::RoomUpdate;
use crate::providers::{Pass, Providers, Wants};

/// Longest wait that is granted, whatever the client asks for.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// How long a request waits for this node to learn what the client saw on another one.
const CATCH_UP: Duration = Duration::from_secs(10);

/// A request for what is new.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// What the client has seen; `None` at first.
    pub since: Option<Position>,
    /// Up to where the client has the messages to its device, if that is not `since`.
    pub received_to_device: Option<Position>,
    /// How long to wait for something new.
    pub timeout: Duration,
    /// What the client wants to be told.
    pub wants: Wants,
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
    providers: Providers,
    clock: Arc<dyn Clock>,
    wakeups: Arc<Wakeups>,
    sent_members: SentMembers,
    initial: Arc<Limit>,
    members_at_once: usize,
    stopping: CancellationToken,
    counters: counts::Counters,
    /// What devices are told of messages and keys.
    devices: Option<SyncedDevices>,
}

impl Sync {
    /// Answers with what the `providers` find. `initial` limits concurrent answers with everything. Requests that wait are answered
    /// when `stopping` is cancelled.
    #[must_use]
    pub fn new(
        providers: Providers,
        clock: Arc<dyn Clock>,
        wakeups: Arc<Wakeups>,
        initial: Arc<Limit>,
        stopping: CancellationToken,
    ) -> Self {
        let sent_members = SentMembers::new(providers.database.memory());
        let (members_at_once, counters) = (MEMBERS_AT_ONCE, counts::Counters::default());
        let devices = None;
        Self { providers, clock, wakeups, sent_members, initial, members_at_once, stopping, counters, devices }
    }

    /// Tells devices of their messages, and of keys.
    #[must_use]
    pub fn with_devices(self, devices: SyncedDevices) -> Self {
        Self { devices: Some(devices), ..self }
    }

    /// Limits the members that are in memory together. A room with half as many is read in pages.
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
            Some(since) if since > self.providers.tail.end() => self.awaited(since).await?,
            since => since,
        };
        self.counters.asked(since.is_none());
        self.note_delivered(requester, request.received(since)).await?;
        let deadline = tokio::time::Instant::now() + request.timeout.min(MAX_WAIT);
        // The work is boxed, so that a request that only waits does not take the room that the work would need.
        let may_wait = !request.timeout.is_zero();
        if since.is_none() || request.wants.full_state {
            return Box::pin(self.begin_whole(requester, request, since)).await;
        }
        let answer = Box::pin(self.answer(requester, request, since)).await?;
        if !may_wait || !answer.is_empty() {
            return self.body(requester, answer).await;
        }
        // The next look begins where this one ended.
        let mut since = Some(answer.next_batch());
        loop {
            // Entered before the next look, so that nothing is missed in between.
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

    /// The whole answer, with what every answer has.
    async fn body(&self, requester: &Requester, mut answer: Answer) -> Result<SyncBody, RoomError> {
        self.add_key_counts(requester, &mut answer).await?;
        Ok(SyncBody::Whole(answer.into_json()))
    }

    /// Refuses to answer while it is not known what other nodes write.
    fn check_log(&self) -> Result<(), RoomError> {
        if self.providers.database.lost_log().is_some() { Err(RoomError::LostLog) } else { Ok(()) }
    }

    /// Waits for a position that another node gave out and this one has not reached yet. `None` if no node has reached it: then the
    /// database was restored from a backup, and the client starts from the beginning.
    async fn awaited(&self, since: Position) -> Result<Option<Position>, RoomError> {
        let is_there = self.providers.database.catch_up(since, CATCH_UP).await?;
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
        let end = self.providers.tail.end();
        let received = request.received(since);
        if since == Some(end) && received == since {
            return Ok(Answer::new(end));
        }
        let pass = self.providers.pass(requester, &request.wants, since).await?;
        let (mut answer, mut updates) = self.begin_answer(&pass, received).await?;
        for part in self.divided(&pass, &mut updates).await? {
            self.add_rooms(&pass, part, &mut answer, None).await?;
            // An answer of many rooms must not keep others waiting.
            tokio::task::yield_now().await;
        }
        Ok(answer)
    }

    /// The answer with all but the rooms, and the rooms that are to be added.
    /// The client has the messages to its device up to `received`.
    async fn begin_answer(
        &self,
        pass: &Pass<'_>,
        received: Option<Position>,
    ) -> Result<(Answer, Vec<RoomUpdate>), RoomError> {
        let mut answer = Answer::new(pass.to);
        let mut changes = self.providers.changes(pass).await?;
        if changes.has_account_data {
            answer.add_account_data(self.providers.account_data(pass).await?);
        }
        answer.add_presence(self.providers.presence_events(pass, &mut changes).await?);
        self.add_device_news(pass, received, &mut answer).await?;
        Ok((answer, changes.rooms))
    }

    /// Adds rooms to the answer. The pieces of a large room are handed to `out` as they are written.
    async fn add_rooms(
        &self,
        pass: &Pass<'_>,
        updates: &[RoomUpdate],
        answer: &mut Answer,
        mut out: Option<&mut Pieces>,
    ) -> Result<(), RoomError> {
        let now = self.clock.now();
        answer.add_account_data_of_rooms(self.providers.late_account_data(pass, updates).await?);
        let mut joined = self.joined_rooms(pass, updates).await?;
        self.add_bundles(pass, updates, &mut joined, now).await?;
        for mut room in joined {
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
        let mut left = self.left_rooms(pass, updates).await?;
        self.add_bundles(pass, updates, &mut left, now).await?;
        for mut room in left {
            self.add_pdus(pass, &mut room).await?;
            answer.add_left(&room, pass, now);
        }
        for room in self.providers.stripped_rooms(pass, updates).await? {
            answer.add_stripped(&room);
        }
        Ok(())
    }
}
