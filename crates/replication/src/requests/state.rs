//! The state before an event.

use federation::RequestError;
use ruma::{EventId, OwnedEventId, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use url::form_urlencoded;

use super::{Limits, RoomRequests, path};

/// The longest list of IDs, for a room of some hundred thousand members.
const MAX_IDS_BYTES: usize = 20 << 20;
/// The longest list of events.
const MAX_EVENTS_BYTES: usize = 50 << 20;

/// The state before an event, by the IDs of its events, and the IDs of what permits it.
#[derive(Debug, Deserialize)]
pub struct StateIds {
    /// The events of the state.
    #[serde(rename = "pdu_ids")]
    pub state: Vec<OwnedEventId>,
    /// Their auth chains.
    #[serde(rename = "auth_chain_ids")]
    pub auth_chain: Vec<OwnedEventId>,
}

/// The state before an event, and what permits it.
#[derive(Debug, Deserialize)]
pub struct WholeState {
    /// The events of the state.
    #[serde(rename = "pdus")]
    pub state: Vec<Box<RawValue>>,
    /// Their auth chains.
    pub auth_chain: Vec<Box<RawValue>>,
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
        self.get(server, &at("state_ids", room_id, event_id), Limits { bytes: MAX_IDS_BYTES, deadline }).await
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
        self.get(server, &at("state", room_id, event_id), Limits { bytes: MAX_EVENTS_BYTES, deadline }).await
    }
}

fn at(what: &str, room_id: &RoomId, event_id: &EventId) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("event_id", event_id.as_str()).finish();
    format!("{}?{query}", path("v1", what, &[&room_id]))
}
