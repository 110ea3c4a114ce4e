//! The state before an event, which may be large.

use bytes::Bytes;
use federation::{Outgoing, RequestError};
use http::Method;
use ruma::{EventId, OwnedEventId, RoomId, ServerName};
use tokio::time::Instant;
use url::form_urlencoded;

use super::splitter::{Part, read_parts};
use super::{RoomRequests, path, time_left};

/// The longest list of IDs, for a room of some hundred thousand members.
const MAX_IDS_BYTES: usize = 20 << 20;
/// The longest list of events.
const MAX_EVENTS_BYTES: usize = 50 << 20;
/// The most events in an answer.
const MAX_EVENTS: usize = 400_000;
/// The long lists of the answers.
const LISTS_OF_IDS: &[&str] = &["pdu_ids", "auth_chain_ids"];
const LISTS_OF_EVENTS: &[&str] = &["pdus", "auth_chain"];

/// The state before an event, by the IDs of its events, and the IDs of what permits it.
#[derive(Debug, Default)]
pub struct StateIds {
    /// The events of the state.
    pub state: Vec<OwnedEventId>,
    /// Their auth chains.
    pub auth_chain: Vec<OwnedEventId>,
}

/// The state before an event, and what permits it.
#[derive(Debug, Default)]
pub struct WholeState {
    /// The events of the state.
    pub state: Vec<Bytes>,
    /// Their auth chains.
    pub auth_chain: Vec<Bytes>,
}

impl RoomRequests {
    /// Asks for the state before an event, by IDs.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn state_ids(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        deadline: Instant,
    ) -> Result<StateIds, RequestError> {
        let mut ids = StateIds::default();
        let uri = at("state_ids", room_id, event_id);
        self.read_lists(server, &uri, (MAX_IDS_BYTES, LISTS_OF_IDS), deadline, |part| {
            let Part::Element { list, json } = part else { return Ok(()) };
            let id: OwnedEventId = serde_json::from_slice(json).map_err(|_| "it has an ID that is none")?;
            if ids.state.len() + ids.auth_chain.len() >= MAX_EVENTS {
                return Err("it has too many IDs");
            }
            let list = if list == "pdu_ids" { &mut ids.state } else { &mut ids.auth_chain };
            list.push(id);
            Ok(())
        })
        .await?;
        // Every state has a create event.
        if ids.state.is_empty() { Err(RequestError::bad_answer(server, "there is no state in it")) } else { Ok(ids) }
    }

    /// Asks for the state before an event. The answer may have any events.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn state(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        deadline: Instant,
    ) -> Result<WholeState, RequestError> {
        let mut whole = WholeState::default();
        let uri = at("state", room_id, event_id);
        self.read_lists(server, &uri, (MAX_EVENTS_BYTES, LISTS_OF_EVENTS), deadline, |part| {
            let Part::Element { list, json } = part else { return Ok(()) };
            if whole.state.len() + whole.auth_chain.len() >= MAX_EVENTS {
                return Err("it has too many events");
            }
            let list = if list == "pdus" { &mut whole.state } else { &mut whole.auth_chain };
            list.push(Bytes::copy_from_slice(json));
            Ok(())
        })
        .await?;
        Ok(whole)
    }

    /// Reads an answer element by element while it arrives.
    async fn read_lists(
        &self,
        server: &ServerName,
        uri: &str,
        (max_bytes, lists): (usize, &'static [&'static str]),
        deadline: Instant,
        tell: impl FnMut(Part<'_>) -> Result<(), &'static str>,
    ) -> Result<(), RequestError> {
        let timeout = time_left(deadline);
        let outgoing = Outgoing { method: Method::GET, server, uri, body: None, limit_bytes: max_bytes, timeout };
        let open = self.client.open_answer(&outgoing).await?;
        let read = tokio::time::timeout_at(deadline, read_parts(open, max_bytes, lists, tell)).await;
        read.map_err(|_| RequestError::TooSlow { server: server.to_owned() })?
    }
}

fn at(what: &str, room_id: &RoomId, event_id: &EventId) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("event_id", event_id.as_str()).finish();
    format!("{}?{query}", path("v1", what, &[&room_id]))
}
