//! Events whose previous events or auth events are missing.
//!
//! First the server that sent the event is asked for what lies between it and the end of the room. If the oldest of that does not follow
//! what is here either, the states at the events that are still missing are asked for, and a gap stays, which is filled when somebody
//! reads that far. Auth events are asked for by themselves. Everything has a limit: on events, on bytes, and one on the time of all together.

use federation::FetchedKeys;
use room_engine::receipt::{ReceivedPdu, in_order};
use rooms::{Reception, RoomError, RoomIdentity, ToldStates};
use ruma::{EventId, OwnedEventId, OwnedServerName};
use tokio::time::Instant;

use super::Receiving;
use crate::requests::MissingQuery;

/// The most events between the end of the room and an event that are fetched for it.
const MAX_BETWEEN: usize = 20;
/// The most states that are fetched for one event.
const MAX_STATES: usize = 10;
/// The most forward extremities that are named.
const MAX_EARLIEST: usize = 10;

impl Receiving {
    /// Takes in an event, after what it names is fetched.
    pub(super) async fn receive_after_missing(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        event: ReceivedPdu,
        keys: &FetchedKeys,
        deadline: Instant,
    ) -> Result<Reception, RoomError> {
        // What was missing may have come with another event of the transaction.
        let mut last = self.receive_once(room, &event, keys).await?;
        let Reception::Missing(missing) = &last else { return Ok(last) };
        let event_id = event.event().event_id().to_owned();
        let oldest = self.parts.database.entry_depth(room.room_sn).await?.unwrap_or(0);
        if !missing.prev_events.is_empty() && event.event().depth() < oldest {
            // It was sent before this server came. If somebody reads back that far, it is fetched with what is around it.
            return Ok(last);
        }
        let mut events = vec![event];
        if !missing.prev_events.is_empty() {
            events.extend(self.between(origin, room, &event_id, (oldest, deadline)).await?);
        }
        let mut states = 0;
        for event in sorted(events) {
            if Instant::now() >= deadline {
                break;
            }
            let is_last = event.event().event_id() == event_id;
            // A server that sends an event tells what leads to it. If it does not, it is not asked what the state is either.
            let mut no_states = MAX_STATES;
            let states = if is_last { &mut no_states } else { &mut states };
            let reception = self.receive_one(origin, room, event, states, deadline).await?;
            if is_last {
                last = reception;
            }
        }
        Ok(last)
    }

    async fn receive_one(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        event: ReceivedPdu,
        states: &mut usize,
        deadline: Instant,
    ) -> Result<Reception, RoomError> {
        let event_id = event.event().event_id().to_owned();
        let keys = self.keys_of(std::slice::from_ref(&event)).await;
        let mut reception = self.receive_once(room, &event, &keys).await?;
        let Reception::Missing(missing) = &reception else { return Ok(reception) };
        let told = self.state_before(origin, room, &event_id, &missing.prev_events, states, deadline).await?;
        if told.is_some() {
            // The auth chains of the states may have brought what permits the event.
            reception = self.receive_once(room, &event, &keys).await?;
        }
        if let Reception::Missing(missing) = &reception
            && !missing.auth_events.is_empty()
        {
            self.fetch_auth_events(origin, room, &event_id, &missing.auth_events, deadline).await?;
            reception = self.receive_once(room, &event, &keys).await?;
        }
        let is_state_missing = matches!(&reception, Reception::Missing(missing) if missing.auth_events.is_empty());
        let Some(told) = told.filter(|_| is_state_missing) else { return Ok(reception) };
        match self.parts.timeline.receive_with_state(room, event, &keys, &told).await {
            Err(RoomError::Invalid(reason)) => {
                tracing::info!(%origin, %event_id, reason, "a server tells a state that cannot be one");
                Ok(reception)
            }
            received => received,
        }
    }

    /// What the other server tells of the state before an event: the states after those of its previous events that are missing, which more
    /// servers know than the event, and else the state before the event. `states` counts them.
    async fn state_before(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        event_id: &EventId,
        missing: &[OwnedEventId],
        states: &mut usize,
        deadline: Instant,
    ) -> Result<Option<ToldStates>, RoomError> {
        if missing.is_empty() || *states >= MAX_STATES {
            return Ok(None);
        }
        *states += missing.len();
        if missing.len() <= MAX_STATES
            && let Some(told) = self.fetch_states_after(origin, room, missing, (false, deadline)).await?
        {
            return Ok(Some(told));
        }
        let state = self.fetch_state(origin, room, event_id, deadline).await?;
        Ok(state.map(ToldStates::before))
    }

    async fn receive_once(
        &self,
        room: &RoomIdentity,
        event: &ReceivedPdu,
        keys: &FetchedKeys,
    ) -> Result<Reception, RoomError> {
        let mut receptions = self.parts.timeline.receive_all(room, vec![event.clone()], keys).await?;
        receptions.pop().unwrap_or(Err(RoomError::Contended))
    }

    /// The events between the end of the room and an event, as far as the other server tells them.
    async fn between(
        &self,
        origin: &OwnedServerName,
        room: &RoomIdentity,
        event_id: &EventId,
        (oldest, deadline): (i64, Instant),
    ) -> Result<Vec<ReceivedPdu>, RoomError> {
        let head = self.parts.database.room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        let ends: Vec<_> = head.extremities.iter().rev().take(MAX_EARLIEST).copied().collect();
        let ends = self.parts.database.graph_events(&ends).await?;
        let ends: Vec<OwnedEventId> =
            ends.iter().filter_map(|event| EventId::parse(&*event.stored.event_id).ok()).collect();
        let query = MissingQuery {
            earliest: ends.iter().map(|end| &**end).collect(),
            latest: vec![event_id],
            limit: MAX_BETWEEN,
            min_depth: oldest,
        };
        match self.parts.requests.get_missing_events(origin, &room.room_id, &query, deadline).await {
            Ok(events) => {
                let mut events = self.read_told(room, events.iter().map(|event| event.get().as_bytes()));
                events.retain(|event| event.event().depth() >= oldest);
                Ok(events)
            }
            Err(error) => {
                tracing::debug!(%error, %event_id, "the events before an event were not told");
                Ok(Vec::new())
            }
        }
    }
}

/// The events in an order in which they can be judged.
fn sorted(events: Vec<ReceivedPdu>) -> Vec<ReceivedPdu> {
    let order = in_order(events.iter().map(|event| event.event().clone()).collect());
    let find = |id: &EventId| events.iter().find(|event| event.event().event_id() == id).cloned();
    order.events.iter().filter_map(|pdu| find(pdu.event_id())).collect()
}
