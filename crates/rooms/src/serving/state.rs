//! The state of rooms before events, and auth chains.

use std::collections::HashSet;

use homeserver_core::EventSn;
use room_engine::state_map::Place;
use ruma::{EventId, RoomId, ServerName};
use storage::GraphEvent;

use super::auth_chain::auth_chain;
use super::graph::is_given_out;
use super::{ServedRoom, Serving, no_such_event};
use crate::RoomError;
use crate::wire::{push_string, write_list};

/// Events that are read and written at once.
const EVENTS_AT_ONCE: usize = 500;

/// The state before an event, and the auth chain of all events in it.
struct StateAndAuthChain {
    state: Vec<EventSn>,
    auth_chain: Vec<EventSn>,
}

impl Serving {
    /// The state before an event: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid>
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] if the server is not in the room, [`RoomError::NotFound`] if there is no such event in it,
    /// [`RoomError::StillPartial`].
    pub async fn state(&self, server: &ServerName, room_id: &RoomId, event_id: &EventId) -> Result<Vec<u8>, RoomError> {
        let served = self.open(server, room_id).await?;
        // Before it takes a place, because it may wait.
        self.states.full(served.room.room_sn).await?;
        let _permit = self.whole_states.enter().await?;
        let StateAndAuthChain { state, auth_chain } = self.state_before(&served, event_id).await?;
        let mut out = b"{\"auth_chain\":".to_vec();
        self.write_events(&mut out, &served, &auth_chain).await?;
        out.extend_from_slice(b",\"pdus\":");
        self.write_events(&mut out, &served, &state).await?;
        out.push(b'}');
        Ok(out)
    }

    /// The IDs of the state before an event: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid>
    ///
    /// # Errors
    /// As [`Serving::state`].
    pub async fn state_ids(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Vec<u8>, RoomError> {
        let served = self.open(server, room_id).await?;
        // Before it takes a place, because it may wait.
        self.states.full(served.room.room_sn).await?;
        let _permit = self.whole_states.enter().await?;
        let StateAndAuthChain { state, auth_chain } = self.state_before(&served, event_id).await?;
        let mut out = b"{\"auth_chain_ids\":".to_vec();
        self.write_ids(&mut out, &auth_chain).await?;
        out.extend_from_slice(b",\"pdu_ids\":");
        self.write_ids(&mut out, &state).await?;
        out.push(b'}');
        Ok(out)
    }

    /// The auth chain of an event: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid>
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] if the server is not in the room, [`RoomError::NotFound`] if there is no such event in it.
    pub async fn event_auth(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Vec<u8>, RoomError> {
        let served = self.open(server, room_id).await?;
        let _permit = self.whole_states.enter().await?;
        let event = self.event_of(&served, event_id).await?;
        let named: Vec<String> = served.room.parse(&event)?.auth_events().iter().map(ToString::to_string).collect();
        let named = self.database.graph_events_by_id(served.room.room_sn, &named).await?;
        let named = named.iter().filter(|event| event.is_indexed).map(|event| event.stored.sn).collect();
        let chain = auth_chain(&self.database, named).await?;
        let mut out = b"{\"auth_chain\":".to_vec();
        self.write_events(&mut out, &served, &chain).await?;
        out.push(b'}');
        Ok(out)
    }

    async fn event_of(&self, served: &ServedRoom, event_id: &EventId) -> Result<GraphEvent, RoomError> {
        let found = self.database.graph_events_by_id(served.room.room_sn, &[event_id.to_string()]).await?.pop();
        found.filter(is_given_out).ok_or_else(no_such_event)
    }

    async fn state_before(&self, served: &ServedRoom, event_id: &EventId) -> Result<StateAndAuthChain, RoomError> {
        self.states.full(served.room.room_sn).await?;
        let event = self.event_of(served, event_id).await?;
        let stored = self.database.events(&[event.stored.sn.0]).await?.pop().ok_or_else(no_such_event)?;
        let after = event.state.ok_or_else(no_such_event)?;
        let own = stored.state_key_sn.map(|key_sn| Place::new(stored.type_sn, key_sn));
        let entries = self.database.with_chunks(|chunks| after.iter(chunks)).await?;
        let mut state: Vec<EventSn> = Vec::new();
        for (place, sn) in entries {
            match Some(place) == own && sn == stored.sn {
                true => state.extend(stored.replaces_sn),
                false => state.push(sn),
            }
        }
        let auth_events = self.database.auth_events_of(&state).await?;
        let auth_chain = auth_chain(&self.database, auth_events).await?;
        Ok(StateAndAuthChain { state, auth_chain })
    }

    async fn write_ids(&self, out: &mut Vec<u8>, events: &[EventSn]) -> Result<(), RoomError> {
        let ids = self.database.event_ids(events).await?;
        write_list(out, &ids, |out, (_, event_id)| push_string(out, event_id));
        Ok(())
    }

    /// Writes state events whole: by them every server in the room checks others.
    async fn write_events(&self, out: &mut Vec<u8>, served: &ServedRoom, events: &[EventSn]) -> Result<(), RoomError> {
        let mut written = HashSet::with_capacity(events.len());
        out.push(b'[');
        for events in events.chunks(EVENTS_AT_ONCE) {
            for event in self.database.graph_events(events).await? {
                if !written.insert(event.stored.sn) {
                    continue;
                }
                if written.len() > 1 {
                    out.push(b',');
                }
                out.extend_from_slice(&served.room.parse(&event)?.to_json());
            }
        }
        out.push(b']');
        Ok(())
    }
}
