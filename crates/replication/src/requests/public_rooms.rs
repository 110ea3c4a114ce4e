//! The public rooms of another server.

use bytes::Bytes;
use federation::RequestError;
use http::Method;
use ruma::ServerName;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Limits, RoomRequests, path};

/// The longest answer.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Which public rooms are asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PublicRoomsQuery {
    /// The most rooms of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// A token of another answer, for the rooms after or before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What the rooms are to fit, as the client said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Map<String, Value>>,
    /// Whether rooms of all networks are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_all_networks: Option<bool>,
    /// The network whose rooms are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub third_party_instance_id: Option<String>,
}

impl RoomRequests {
    /// Asks for public rooms. The answer has the form of that to clients, and may hold anything.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn public_rooms(
        &self,
        server: &ServerName,
        query: &PublicRoomsQuery,
        deadline: Instant,
    ) -> Result<Map<String, Value>, RequestError> {
        let body = serde_json::to_vec(query).map_err(|error| RequestError::bad_answer(server, &error.to_string()))?;
        let limits = Limits { bytes: MAX_ANSWER_BYTES, deadline };
        self.ask(server, Method::POST, &path("v1", "publicRooms", &[]), Some(Bytes::from(body)), limits).await
    }
}
