//! What a server that joins a room is told of it: the state before the join, and the events that permit it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use homeserver_core::{EventSn, RoomSn, UserSn};
use room_engine::state_map::Place;
use room_engine::{RoomVersion, join};
use ruma::{EventId, OwnedServerName, RoomId, UserId};
use storage::GraphEvent;

use crate::{RoomError, Timeline};

/// The members who are told of where a room has no name: as many as name it.
const MAX_HEROES: usize = 5;

/// The state before the event by which a server joined, by the numbers of the events.
#[derive(Debug)]
pub struct JoinState {
    /// The event.
    pub event: EventSn,
    /// The state before it; some members are left out with [`JoinState::members_omitted`].
    pub state: Vec<EventSn>,
    /// The events that permit the state and the join, without those in the state if members may be left out.
    pub auth_chain: Vec<EventSn>,
    /// Whether members were left out.
    pub members_omitted: bool,
    /// The servers that were in the room before the join.
    pub servers_in_room: BTreeSet<OwnedServerName>,
}

impl Timeline {
    /// The state before a member event that is stored.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
    ///
    /// # Errors
    /// [`RoomError::StillPartial`] if not all of the state is known here.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn join_state(
        &self,
        room_sn: RoomSn,
        event_id: &EventId,
        may_omit_members: bool,
    ) -> Result<JoinState, RoomError> {
        self.states().full(room_sn).await?;
        let lost = || RoomError::NotFound(format!("There is no event {event_id} in this room."));
        let found = self.database().graph_events_by_id(room_sn, &[event_id.to_string()]).await?.pop();
        let event = found.ok_or_else(lost)?;
        let mut state = self.state_before(&event).await?;
        let members = state.len();
        if may_omit_members {
            self.omit_members(room_sn, &mut state).await?;
        }
        let members_omitted = state.len() < members;
        let state: Vec<EventSn> = state.into_values().collect();
        let mut auth_chain = self.auth_chain(state.iter().copied().chain(event.auth_events.iter().copied())).await?;
        // What permits the join may be no part of the state, or may have been left out of it.
        let in_state: HashSet<EventSn> = state.iter().copied().collect();
        let beside: Vec<EventSn> =
            event.auth_events.iter().filter(|sn| !in_state.contains(sn) && !auth_chain.contains(sn)).copied().collect();
        auth_chain.extend(beside);
        if may_omit_members {
            auth_chain.retain(|sn| !in_state.contains(sn));
        }
        let joining = self.joining_user(&event).await?;
        let users = self.database().joined_users_but(room_sn, joining).await?;
        let servers = users.iter().filter_map(|user_id| Some(UserId::parse(&**user_id).ok()?.server_name().to_owned()));
        Ok(JoinState { event: event.stored.sn, state, auth_chain, members_omitted, servers_in_room: servers.collect() })
    }

    /// Whole events as JSON, in the order of their numbers in `events`.
    ///
    /// # Errors
    /// [`RoomError`] if they cannot be read.
    pub async fn pdu_texts(
        &self,
        room_id: &RoomId,
        version: RoomVersion,
        events: &[EventSn],
    ) -> Result<Vec<Vec<u8>>, RoomError> {
        let found = self.database().graph_events(events).await?;
        let by_number: HashMap<EventSn, &GraphEvent> = found.iter().map(|event| (event.stored.sn, event)).collect();
        let texts = events.iter().filter_map(|sn| by_number.get(sn)).map(|event| {
            let stored = &event.stored;
            join(&stored.client_json, &stored.federation_json, room_id, version)
        });
        Ok(texts.collect())
    }

    /// The state after the event, with what the event replaced in its place.
    async fn state_before(&self, event: &GraphEvent) -> Result<BTreeMap<Place, EventSn>, RoomError> {
        let after = event.state.ok_or(RoomError::StateUnknown)?;
        let mut state: BTreeMap<Place, EventSn> =
            self.database().with_chunks(|chunks| after.iter(chunks)).await?.collect();
        let own = state.iter().find(|(_, sn)| **sn == event.stored.sn).map(|(place, _)| *place);
        if let Some(place) = own {
            match self.database().replaced_by(event.stored.sn).await? {
                Some(replaced) => state.insert(place, replaced),
                None => state.remove(&place),
            };
        }
        Ok(state)
    }

    /// Leaves out the members, but for those after whom a room without a name is named.
    async fn omit_members(&self, room_sn: RoomSn, state: &mut BTreeMap<Place, EventSn>) -> Result<(), RoomError> {
        let interned = self.interned();
        let member_type = interned.event_type("m.room.member").await?;
        let empty_key = interned.state_key("").await?;
        let mut is_named = false;
        for event_type in ["m.room.name", "m.room.canonical_alias"] {
            is_named |= state.contains_key(&Place::new(interned.event_type(event_type).await?, empty_key));
        }
        let mut heroes = HashSet::new();
        if !is_named {
            let known = self.states().of(room_sn);
            for member in self.database().first_members(&[&known], UserSn(0), MAX_HEROES).await? {
                heroes.insert(Place::new(member_type, interned.state_key(&member.user_id).await?));
            }
        }
        state.retain(|place, _| place.event_type != member_type || heroes.contains(place));
        Ok(())
    }

    /// The auth chain of some events, without themselves unless they are in it.
    async fn auth_chain(&self, events: impl Iterator<Item = EventSn>) -> Result<Vec<EventSn>, RoomError> {
        let mut asked: HashSet<EventSn> = HashSet::new();
        let mut chain: BTreeSet<EventSn> = BTreeSet::new();
        let mut next: Vec<EventSn> = events.filter(|sn| asked.insert(*sn)).collect();
        while !next.is_empty() {
            let found = self.database().auth_events_of(&next).await?;
            chain.extend(found.iter().copied());
            next = found.into_iter().filter(|sn| asked.insert(*sn)).collect();
        }
        Ok(chain.into_iter().collect())
    }

    async fn joining_user(&self, event: &GraphEvent) -> Result<UserSn, RoomError> {
        let sender = room_engine::member(&event.stored.client_json, "sender").and_then(room_engine::string_value);
        Ok(self.interned().user(&sender.unwrap_or_default()).await?)
    }
}
