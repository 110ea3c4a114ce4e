//! Fetching states and auth events.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use federation::RequestError;
use futures::{FutureExt as _, StreamExt as _};
use http::StatusCode;
use room_engine::receipt::ReceivedPdu;
use rooms::{RoomError, RoomIdentity, ToldState, ToldStates};
use ruma::{EventId, OwnedEventId, OwnedServerName};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Receiving;

/// So many events are fetched one by one at most. If more of a state are missing, all of it is fetched.
const MAX_SINGLE: usize = 100;
/// So many of them are fetched side by side.
const SINGLE_AT_ONCE: usize = 8;
/// How often each of them is asked for.
const ATTEMPTS: usize = 2;
/// A state has no more events than this, with its auth chains.
const MAX_STATE_EVENTS: usize = 300_000;
/// Where all of a state is needed, one of so many events may be lost: there may be events in it that nobody else takes for good.
const ONE_LOST_OF: usize = 100;
/// So many events are checked and stored at once.
const STORED_AT_ONCE: usize = 2_000;
/// How often the rest is tried again of which the auth events came later.
const MAX_ROUNDS: usize = 4;

/// The state before an event as another server tells it, of which all events are stored.
struct FetchedState {
    events: Vec<OwnedEventId>,
    /// How many could not be had.
    lost: usize,
}

impl Receiving {
    /// The state before an event as the other server tells it, once its events are stored; `None` if it was not told. What the other server
    /// does not have of it, or nobody could have sent, is left out, as if nobody had ever sent it.
    pub(crate) async fn fetch_state(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        event_id: &EventId,
        deadline: Instant,
    ) -> Result<Option<Vec<OwnedEventId>>, RoomError> {
        Ok(self.fetch_told(origin, room, event_id, deadline).await?.map(|state| state.events))
    }

    /// The states after events that are missing, as the other server tells them; `None` if they were not told. With `needs_all`, nothing, or
    /// next to nothing, may be lost of them.
    pub(super) async fn fetch_states_after(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        events: &[OwnedEventId],
        (needs_all, deadline): (bool, Instant),
    ) -> Result<Option<ToldStates>, RoomError> {
        let mut states = Vec::with_capacity(events.len());
        for event_id in events {
            let Some(state) = self.fetch_told(origin, room, event_id, deadline).await? else { return Ok(None) };
            let is_lost = needs_all && state.lost > state.events.len() / ONE_LOST_OF;
            if is_lost || !self.fetch_named(origin, room, event_id, deadline).await? {
                return Ok(None);
            }
            states.push(ToldState { events: state.events, then: Some(event_id.clone()) });
        }
        Ok(Some(ToldStates::AfterMissing(states)))
    }

    /// Fetches an event that is missing, and stores it if it is a state event. Returns whether that was possible.
    async fn fetch_named(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        event_id: &OwnedEventId,
        deadline: Instant,
    ) -> Result<bool, RoomError> {
        if !self.known(room, &BTreeSet::from([event_id.clone()])).await?.is_empty() {
            return Ok(true);
        }
        let Ok(Some(event)) = self.fetch_event(origin, event_id, deadline).await else { return Ok(false) };
        let read = self.read_told(room, std::iter::once(event.get().as_bytes()));
        let Some(auth_events) = auth_events_of(&read, event_id) else { return Ok(false) };
        let is_state = read.first().is_some_and(|event| event.event().state_key().is_some());
        drop(read);
        let known = self.known(room, &auth_events).await?;
        let missing: Vec<_> = auth_events.into_iter().filter(|id| !known.contains(id.as_str())).collect();
        if !missing.is_empty() {
            self.fetch_auth_events(origin, room, event_id, &missing, deadline).await?;
        }
        self.store_told(room, vec![bytes_of(event)]).await?;
        // Without it the state after it would be another one.
        Ok(!is_state || !self.known(room, &BTreeSet::from([event_id.clone()])).await?.is_empty())
    }

    async fn fetch_told(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        event_id: &EventId,
        deadline: Instant,
    ) -> Result<Option<FetchedState>, RoomError> {
        let told = match self.parts.requests.state_ids(origin, &room.room_id, event_id, deadline).await {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(%error, %event_id, "the state before an event was not told");
                return Ok(None);
            }
        };
        if told.state.len() + told.auth_chain.len() > MAX_STATE_EVENTS {
            tracing::warn!(%origin, %event_id, "a server tells of a state that is too large");
            return Ok(None);
        }
        let mut missing: BTreeSet<OwnedEventId> = told.state.iter().chain(&told.auth_chain).cloned().collect();
        let known = self.known(room, &missing).await?;
        missing.retain(|event_id| !known.contains(event_id.as_str()));
        let is_answered = match missing.len() > MAX_SINGLE {
            true => self.fetch_whole_state(origin, room, event_id, deadline).await?,
            false => self.fetch_single(origin, room, &missing, deadline).await?,
        };
        if !is_answered {
            // What is judged by a part of a state is judged wrongly for ever.
            tracing::debug!(%origin, %event_id, "the events of a state were not told");
            return Ok(None);
        }
        let state: BTreeSet<OwnedEventId> = told.state.into_iter().collect();
        let known = self.known(room, &state).await?;
        let (events, lost): (Vec<_>, Vec<_>) =
            state.into_iter().partition(|event_id| known.contains(event_id.as_str()));
        if !lost.is_empty() {
            tracing::info!(%origin, %event_id, lost = lost.len(), "events of a state could not be had");
        }
        Ok((!events.is_empty()).then_some(FetchedState { events, lost: lost.len() }))
    }

    /// Stores the auth events of an event.
    pub(crate) async fn fetch_auth_events(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        event_id: &EventId,
        missing: &[OwnedEventId],
        deadline: Instant,
    ) -> Result<(), RoomError> {
        match self.parts.requests.event_auth(origin, &room.room_id, event_id, deadline).await {
            Ok(chain) => self.store_told(room, chain.into_iter().map(bytes_of).collect()).await?,
            Err(error) => tracing::debug!(%error, %event_id, "the auth chain of an event was not told"),
        }
        let mut missing: BTreeSet<OwnedEventId> = missing.iter().cloned().collect();
        let known = self.known(room, &missing).await?;
        missing.retain(|event_id| !known.contains(event_id.as_str()));
        self.fetch_single(origin, room, &missing, deadline).await.map(drop)
    }

    /// Stores the events of a state. Returns whether the other server has told them.
    async fn fetch_whole_state(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        event_id: &EventId,
        deadline: Instant,
    ) -> Result<bool, RoomError> {
        match self.parts.requests.state(origin, &room.room_id, event_id, deadline).await {
            Ok(mut told) => {
                // What permits others comes first.
                told.auth_chain.append(&mut told.state);
                self.store_told(room, told.auth_chain).await?;
                Ok(true)
            }
            Err(error) => {
                tracing::debug!(%error, %event_id, "the events of a state were not told");
                Ok(false)
            }
        }
    }

    /// Fetches events one by one, and stores them as outliers. Returns whether the other server has answered each time, if only that it
    /// does not have an event.
    async fn fetch_single(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        missing: &BTreeSet<OwnedEventId>,
        deadline: Instant,
    ) -> Result<bool, RoomError> {
        if missing.is_empty() {
            return Ok(true);
        }
        // Collected, because the compiler does not see otherwise that they can be sent.
        let fetch = |event_id| self.fetch_event(origin, event_id, deadline).boxed();
        let events: Vec<_> = missing.iter().map(|event_id| &**event_id).take(MAX_SINGLE).map(fetch).collect();
        let events: Vec<_> = futures::stream::iter(events).buffer_unordered(SINGLE_AT_ONCE).collect().await;
        let is_answered = events.iter().all(Result::is_ok) && missing.len() <= MAX_SINGLE;
        self.store_told(room, events.into_iter().flatten().flatten().map(bytes_of).collect()).await?;
        Ok(is_answered)
    }

    /// An event; `None` if the other server does not have it. It is asked once more if it does not answer.
    async fn fetch_event(
        &self,
        origin: &OwnedServerName,
        event_id: &EventId,
        deadline: Instant,
    ) -> Result<Option<Box<RawValue>>, RequestError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.parts.requests.event(origin, event_id, deadline).await {
                Ok(event) => return Ok(Some(event)),
                Err(RequestError::Refused { status, .. }) if is_final(status) => {
                    tracing::debug!(%status, %event_id, "an event was not told");
                    return Ok(None);
                }
                Err(error @ RequestError::BadAnswer { .. }) => {
                    tracing::debug!(%error, %event_id, "an event was not told");
                    return Ok(None);
                }
                Err(error) if attempts < ATTEMPTS => tracing::debug!(%error, %event_id, "an event is asked for again"),
                Err(error) => return Err(error),
            }
        }
    }

    /// Stores events that others refer to, some at once, so that no more than these are in memory in every form.
    async fn store_told(&self, room: &RoomIdentity, events: Vec<Bytes>) -> Result<(), RoomError> {
        for _ in 0..MAX_ROUNDS {
            let (mut stored, mut waits) = (0, false);
            for events in events.chunks(STORED_AT_ONCE) {
                let read = self.read_told(room, events.iter().map(|event| &**event));
                let keys = self.keys_of(&read).await;
                drop(read);
                let report = self.parts.timeline.store_outliers(room, events, &keys).await?;
                tracing::debug!(?report, room_id = %room.room_id, "events were stored that others refer to");
                stored += report.stored;
                waits |= !report.missing.is_empty();
            }
            // Auth events may be further behind in the list.
            if stored == 0 || !waits || events.len() <= STORED_AT_ONCE {
                break;
            }
        }
        Ok(())
    }

    /// The events that have the form of the room's version.
    pub(super) fn read_told<'a>(
        &self,
        room: &RoomIdentity,
        events: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<ReceivedPdu> {
        let read = events.filter_map(|event| ReceivedPdu::parse(room.version, Some(&room.room_id), event).ok());
        read.collect()
    }

    async fn known(
        &self,
        room: &RoomIdentity,
        events: &BTreeSet<OwnedEventId>,
    ) -> Result<HashSet<Box<str>>, RoomError> {
        let ids: Vec<String> = events.iter().map(ToString::to_string).collect();
        Ok(self.parts.database.known_events(room.room_sn, &ids).await?.into_iter().collect())
    }
}

fn bytes_of(event: Box<RawValue>) -> Bytes {
    String::from(Box::<str>::from(event)).into()
}

/// Whether a request that was refused so would be refused again.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
}

/// The auth events of an event, if it is the first of those that were read.
fn auth_events_of(read: &[ReceivedPdu], event_id: &EventId) -> Option<BTreeSet<OwnedEventId>> {
    let event = read.first()?.event();
    (event.event_id() == event_id).then(|| event.auth_events().iter().cloned().collect())
}
