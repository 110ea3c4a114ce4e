//! The past of rooms, for clients that read back further than this server does.
//!
//! A page of a timeline ends where events are missing. [`Backfill::messages`] then asks other servers of the room for them, one after
//! the other, has them stored, and reads the page again. What was not found in vain a moment ago is not asked for again.

mod at_time;
mod candidates;
mod futile;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use accounts::asking::{Asker, Shares};
use accounts::sessions::Requester;
use bytes::Bytes;
use federation::{FetchedKeys, RequestError, ServerKeys};
use homeserver_core::{Identity, RoomSn, TimelineOrder};
use rooms::reading::{History, Messages, MessagesRequest};
use rooms::{RoomError, Timeline};
use ruma::{EventId, OwnedServerName, RoomId};
use storage::{Database, Gap, Interned};
use tokio::time::Instant;

use self::futile::Futile;
use crate::receiving::Receiving;
use crate::requests::RoomRequests;
use crate::room_locks::RoomLocks;

/// How long other servers may take until the page is read without what they have.
const TIME_FOR_ALL: Duration = Duration::from_secs(30);
/// How long one of them may take.
const TIME_FOR_ONE: Duration = Duration::from_secs(15);
/// So many gaps are filled for one page, or parts of one.
const MAX_FILLED: usize = 5;
/// Events that are asked for at once.
const EVENTS_AT_ONCE: usize = 100;
/// The most states that are fetched for events that are asked for at once.
const MAX_STATES: usize = 5;
/// The most events of which the auth chains are fetched one by one.
const MAX_AUTH_CHAINS: usize = 5;

/// What [`Backfill`] is made of.
pub struct BackfillParts {
    /// The database.
    pub database: Database,
    /// The numbers of identifiers.
    pub interned: Arc<Interned>,
    /// This server.
    pub identity: Arc<Identity>,
    /// The rooms.
    pub timeline: Arc<Timeline>,
    /// Reads their timelines.
    pub history: Arc<History>,
    /// The keys of other servers.
    pub keys: Arc<ServerKeys>,
    /// Asks other servers.
    pub requests: Arc<RoomRequests>,
    /// Fetches states and auth events.
    pub receiving: Arc<Receiving>,
    /// The shares of users in what other servers are asked for their sake.
    pub shares: Shares,
}

/// Fetches the past of rooms.
pub struct Backfill {
    parts: BackfillParts,
    filling: RoomLocks,
    futile: Futile,
}

/// Why a server did not help.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Room(#[from] RoomError),
}

impl Backfill {
    /// Fetches with what is in `parts`.
    #[must_use]
    pub fn new(parts: BackfillParts) -> Self {
        Self { parts, filling: RoomLocks::default(), futile: Futile::default() }
    }

    /// A page of a room's timeline, with what other servers have where events are missing here.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
    ///
    /// # Errors
    /// As [`History::messages`]. Where other servers do not help, the page is read without them.
    pub async fn messages(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        request: &MessagesRequest,
    ) -> Result<Messages, RoomError> {
        let mut page = self.parts.history.messages(requester, room_id, request).await?;
        let deadline = Instant::now() + TIME_FOR_ALL;
        for _ in 0..MAX_FILLED {
            let Some(gap) = &page.gap else { return Ok(page) };
            if !Box::pin(self.fill_for(requester, room_id, gap, deadline)).await? {
                break;
            }
            page = self.parts.history.messages(requester, room_id, request).await?;
        }
        if page.gap.is_some() && page.is_empty {
            // Nobody has what is missing. What is before that can be read all the same.
            let over = MessagesRequest { crosses_gaps: true, ..request.clone() };
            page = self.parts.history.messages(requester, room_id, &over).await?;
        }
        Ok(page)
    }

    /// Fills a gap, or a part of it next to its end; `false` if nobody has what is missing.
    async fn fill_for(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        gap: &Gap,
        deadline: Instant,
    ) -> Result<bool, RoomError> {
        let room_sn = self.parts.timeline.find(room_id).await?;
        if self.futile.contains(room_sn, gap.order) {
            return Ok(false);
        }
        let share = match self.parts.shares.take_place(Asker::User(requester)).await {
            Ok(share) => share,
            Err(error) => {
                tracing::debug!(%error, %room_id, "a user asks for the past of rooms too often");
                return Ok(false);
            }
        };
        let turn = self.filling.lock(room_id).await;
        let is_filled = if self.is_changed(room_sn, gap).await? {
            true
        } else {
            self.fill(room_sn, room_id, gap, deadline).await?
        };
        drop((turn, share));
        Ok(is_filled)
    }

    /// Whether somebody else has filled the gap.
    async fn is_changed(&self, room_sn: RoomSn, gap: &Gap) -> Result<bool, RoomError> {
        let now = self.parts.database.last_gap(room_sn, gap.order).await?;
        Ok(now.as_ref() != Some(gap))
    }

    async fn fill(&self, room_sn: RoomSn, room_id: &RoomId, gap: &Gap, deadline: Instant) -> Result<bool, RoomError> {
        for server in self.candidates(room_sn, gap).await? {
            if Instant::now() >= deadline {
                break;
            }
            let deadline = deadline.min(Instant::now() + TIME_FOR_ONE);
            match self.fill_from(&server, room_id, gap, deadline).await {
                Ok(0) => tracing::debug!(%room_id, %server, "a server does not have what is missing"),
                Ok(events) => {
                    tracing::debug!(%room_id, %server, events, "a part of the past was fetched");
                    return Ok(true);
                }
                Err(error) => tracing::info!(%error, %room_id, %server, "a server did not tell the past of a room"),
            }
        }
        self.futile.insert(room_sn, gap.order);
        Ok(false)
    }

    /// Stores what a server tells of the events before a gap. Returns how many were stored.
    async fn fill_from(
        &self,
        server: &OwnedServerName,
        room_id: &RoomId,
        gap: &Gap,
        deadline: Instant,
    ) -> Result<usize, Failure> {
        let frontier = self.parts.timeline.frontier(gap).await?;
        let frontier: Vec<&EventId> = frontier.iter().map(|event_id| &**event_id).collect();
        let told = self.parts.requests.backfill(server, room_id, &frontier, EVENTS_AT_ONCE, deadline).await?;
        let events: Vec<Bytes> = told.into_iter().map(|event| String::from(Box::<str>::from(event)).into()).collect();
        self.store(server, room_id, (gap, false), &events, deadline).await
    }

    /// Stores told events in a gap, once what they need was fetched.
    async fn store(
        &self,
        server: &OwnedServerName,
        room_id: &RoomId,
        (gap, is_detached): (&Gap, bool),
        events: &[Bytes],
        deadline: Instant,
    ) -> Result<usize, Failure> {
        if events.is_empty() {
            return Ok(0);
        }
        let timeline = &self.parts.timeline;
        let room = timeline.identity_of(room_id).await?;
        let needed = timeline.needed_keys(room.version, events).await?;
        let keys: FetchedKeys = self.parts.keys.for_events(&needed, deadline).await;
        let needs = timeline.needs_of_backfill(room_id, (gap, is_detached), events, &keys).await?;
        let mut states = HashMap::new();
        for event_id in needs.states_before.into_iter().take(MAX_STATES) {
            let state = self.parts.receiving.fetch_state(server, &room, &event_id, deadline).await?;
            states.extend(state.map(|state| (event_id, state)));
        }
        let needs = timeline.needs_of_backfill(room_id, (gap, is_detached), events, &keys).await?;
        for (event_id, missing) in needs.auth_events.into_iter().take(MAX_AUTH_CHAINS) {
            self.parts.receiving.fetch_auth_events(server, &room, &event_id, &missing, deadline).await?;
        }
        let backfill = rooms::Backfill { gap, events, is_detached, states: &states };
        Ok(timeline.store_backfilled(room_id, &backfill, &keys).await?)
    }
}

/// A gap, by its room and place.
type GapKey = (RoomSn, TimelineOrder);
