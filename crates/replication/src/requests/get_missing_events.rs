//! Events between others.

use bytes::Bytes;
use federation::RequestError;
use http::Method;
use ruma::{EventId, RoomId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Limits, RoomRequests, path};

/// The longest answer: twenty events of the greatest length, and escapes of JSON.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// What is missing: what leads from the `latest` events back to the `earliest` ones.
#[derive(Clone, Debug, Serialize)]
pub struct MissingQuery<'a> {
    /// The newest events that this server has. The walk back ends at them.
    #[serde(rename = "earliest_events")]
    pub earliest: Vec<&'a EventId>,
    /// Events whose previous events are missing.
    #[serde(rename = "latest_events")]
    pub latest: Vec<&'a EventId>,
    /// The most events of the answer.
    pub limit: usize,
    /// Events of less depth are not wanted.
    pub min_depth: i64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    events: Vec<Box<RawValue>>,
}

impl RoomRequests {
    /// Asks for events that this server lacks. The answer may have any events, the oldest first.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn get_missing_events(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        query: &MissingQuery<'_>,
        deadline: Instant,
    ) -> Result<Vec<Box<RawValue>>, RequestError> {
        let bad = |error: serde_json::Error| RequestError::bad_answer(server, &error.to_string());
        let body = Bytes::from(serde_json::to_vec(query).map_err(bad)?);
        let uri = path("v1", "get_missing_events", &[&room_id]);
        let limits = Limits { bytes: MAX_ANSWER_BYTES, deadline };
        let mut answer: Answer = self.ask(server, Method::POST, &uri, Some(body), limits).await?;
        answer.events.truncate(query.limit);
        Ok(answer.events)
    }
}
