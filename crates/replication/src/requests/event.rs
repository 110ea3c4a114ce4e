//! One event.

use federation::RequestError;
use ruma::{EventId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Limits, RoomRequests, path};

/// The longest answer: an event, and escapes of JSON.
const MAX_ANSWER_BYTES: usize = 256 << 10;

#[derive(Deserialize)]
struct Answer {
    pdus: Vec<Box<RawValue>>,
}

impl RoomRequests {
    /// Asks for an event. The answer may be another event.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn event(
        &self,
        server: &ServerName,
        event_id: &EventId,
        deadline: Instant,
    ) -> Result<Box<RawValue>, RequestError> {
        let uri = path("v1", "event", &[&event_id]);
        let answer: Answer = self.get(server, &uri, Limits { bytes: MAX_ANSWER_BYTES, deadline }).await?;
        answer.pdus.into_iter().next().ok_or_else(|| RequestError::bad_answer(server, "there is no event in it"))
    }
}
