//! What permits an event.

use federation::RequestError;
use ruma::{EventId, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Limits, RoomRequests, path};

/// The longest answer.
const MAX_ANSWER_BYTES: usize = 10 << 20;
/// The most events of an answer.
const MAX_EVENTS: usize = 5_000;

#[derive(Deserialize)]
struct Answer {
    auth_chain: Vec<Box<RawValue>>,
}

impl RoomRequests {
    /// Asks for the auth chain of an event. The answer may have any events.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn event_auth(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        deadline: Instant,
    ) -> Result<Vec<Box<RawValue>>, RequestError> {
        let uri = path("v1", "event_auth", &[&room_id, &event_id]);
        let mut answer: Answer = self.get(server, &uri, Limits { bytes: MAX_ANSWER_BYTES, deadline }).await?;
        answer.auth_chain.truncate(MAX_EVENTS);
        Ok(answer.auth_chain)
    }
}
