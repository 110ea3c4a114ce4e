//! Which events another server may see.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>

use std::collections::{HashMap, HashSet};

use homeserver_core::EventSn;
use room_engine::Membership;
use room_engine::state_map::{Place, StateMap};
use room_engine::visibility::HistoryVisibility;
use storage::{GraphEvent, StoredEvent};

use super::{ServedRoom, Serving};
use crate::RoomError;
use crate::reading::{membership_of, visibility_of};
use crate::wire::write_list;

/// Whether a server could see an event is decided by so many of its users, those first who are in the room.
const MAX_MEMBERS: i64 = 1_000;

impl Serving {
    /// Writes events as the server sees them: those that are hidden from it are redacted.
    pub(super) async fn write_seen(
        &self,
        out: &mut Vec<u8>,
        served: &ServedRoom,
        events: &[GraphEvent],
    ) -> Result<(), RoomError> {
        let visible = self.visible_states(served, events).await?;
        let mut pdus = Vec::with_capacity(events.len());
        for event in events {
            let pdu = served.room.parse(event)?;
            // Without a state it is one of the events by which others are checked.
            let is_visible = event.state.is_none_or(|state| visible.contains(&state));
            pdus.push(if is_visible { pdu.to_json() } else { pdu.redacted()?.to_json() });
        }
        write_list(out, &pdus, |out, pdu| out.extend_from_slice(pdu));
        Ok(())
    }

    /// The first of some events that the server may see.
    pub(super) async fn first_visible<'e>(
        &self,
        served: &ServedRoom,
        events: &'e [StoredEvent],
    ) -> Result<Option<&'e StoredEvent>, RoomError> {
        let sns: Vec<EventSn> = events.iter().map(|event| event.sn).collect();
        let graph = self.database.graph_events(&sns).await?;
        let visible = self.visible_states(served, &graph).await?;
        let is_visible = |event: &GraphEvent| event.state.is_some_and(|state| visible.contains(&state));
        let visible: HashSet<EventSn> =
            graph.iter().filter(|event| is_visible(event)).map(|event| event.stored.sn).collect();
        Ok(events.iter().find(|event| visible.contains(&event.sn)))
    }

    /// Those of the states after the events at which the server could see what was sent.
    async fn visible_states(&self, served: &ServedRoom, events: &[GraphEvent]) -> Result<HashSet<StateMap>, RoomError> {
        let states: HashSet<StateMap> = events.iter().filter_map(|event| event.state).collect();
        let states: Vec<StateMap> = states.into_iter().collect();
        let visibility_type = self.interned.find_type("m.room.history_visibility").await?;
        let empty_key = self.interned.find_key("").await?;
        let Some((event_type, state_key)) = visibility_type.zip(empty_key) else {
            return Ok(states.into_iter().collect());
        };
        let place = [Place::new(event_type, state_key)];
        let visibilities = self.events_at(&states, &place).await?;
        let visibility_at = |found: &[StoredEvent]| {
            found.first().map_or(HistoryVisibility::Shared, |event| visibility_of(&event.client_json))
        };
        let (mut visible, mut restricted) = (HashSet::new(), Vec::new());
        for (state, found) in states.iter().zip(&visibilities) {
            match visibility_at(found) {
                HistoryVisibility::WorldReadable | HistoryVisibility::Shared => drop(visible.insert(*state)),
                visibility => restricted.push((*state, visibility)),
            }
        }
        let states: Vec<StateMap> = restricted.iter().map(|(state, _)| *state).collect();
        if restricted.is_empty() {
            return Ok(visible);
        }
        let members = self.events_at(&states, &self.places_of_members(served).await?).await?;
        for ((state, visibility), members) in restricted.into_iter().zip(members) {
            let is_inside = |member: &StoredEvent| match membership_of(&member.client_json) {
                Membership::Join => true,
                Membership::Invite => visibility == HistoryVisibility::Invited,
                _ => false,
            };
            if members.iter().any(is_inside) {
                visible.insert(state);
            }
        }
        Ok(visible)
    }

    /// Where the members of the server are in the room's states.
    async fn places_of_members(&self, served: &ServedRoom) -> Result<Vec<Place>, RoomError> {
        let Some(event_type) = self.interned.find_type("m.room.member").await? else { return Ok(Vec::new()) };
        let (room_sn, server) = (served.room.room_sn, served.server.as_str());
        let members = self.database.members_of_server(room_sn, server, MAX_MEMBERS).await?;
        let mut places = Vec::with_capacity(members.len());
        for (user_id, _) in &members {
            places.extend(self.interned.find_key(user_id).await?.map(|key| Place::new(event_type, key)));
        }
        Ok(places)
    }

    /// The events at some places of states.
    async fn events_at(&self, states: &[StateMap], places: &[Place]) -> Result<Vec<Vec<StoredEvent>>, RoomError> {
        let found: Vec<Vec<Option<EventSn>>> = self
            .database
            .with_chunks(|chunks| states.iter().map(|state| state.get_many(chunks, places)).collect())
            .await?;
        let mut sns: Vec<i64> = found.iter().flatten().flatten().map(|sn| sn.0).collect();
        sns.sort_unstable();
        sns.dedup();
        let events: HashMap<EventSn, StoredEvent> =
            self.database.events(&sns).await?.into_iter().map(|event| (event.sn, event)).collect();
        Ok(found
            .into_iter()
            .map(|found| found.into_iter().flatten().filter_map(|sn| events.get(&sn).cloned()).collect())
            .collect())
    }
}
