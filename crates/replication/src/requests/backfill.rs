//! Events before others.

use federation::RequestError;
use ruma::{EventId, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use url::form_urlencoded;

use super::{Limits, RoomRequests, path};

/// The most events of one answer.
const MAX_EVENTS: usize = 100;
/// The longest answer: so many events of the greatest length, and escapes of JSON.
const MAX_ANSWER_BYTES: usize = 10 << 20;

#[derive(Deserialize)]
struct Answer {
    pdus: Vec<Box<RawValue>>,
}

impl RoomRequests {
    /// Asks for up to `limit` events that come before `events` in the room's graph, those included. The answer may have any events.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn backfill(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        events: &[&EventId],
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<Box<RawValue>>, RequestError> {
        let limit = limit.min(MAX_EVENTS);
        let uri = format!("{}?{}", path("v1", "backfill", &[&room_id]), query(events, limit));
        let mut answer: Answer = self.get(server, &uri, Limits { bytes: MAX_ANSWER_BYTES, deadline }).await?;
        answer.pdus.truncate(limit);
        Ok(answer.pdus)
    }
}

fn query(events: &[&EventId], limit: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(events.iter().map(|event_id| ("v", event_id.as_str())));
    query.append_pair("limit", &limit.to_string());
    query.finish()
}
