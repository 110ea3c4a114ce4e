//! The event that is closest to a time.

use federation::RequestError;
use homeserver_core::Timestamp;
use rooms::serving::TimeDirection;
use ruma::{OwnedEventId, RoomId, ServerName};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Limits, RoomRequests, path};

/// The longest answer: an event ID and a number.
const MAX_ANSWER_BYTES: usize = 4 << 10;

/// An event, and when it was sent, as another server tells.
#[derive(Clone, Debug, Deserialize)]
pub struct ToldEvent {
    /// The event.
    pub event_id: OwnedEventId,
    /// When it was sent.
    #[serde(rename = "origin_server_ts")]
    pub sent_at: Timestamp,
}

impl RoomRequests {
    /// Asks for the event that was sent closest to a time.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn timestamp_to_event(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        (time, direction): (Timestamp, TimeDirection),
        deadline: Instant,
    ) -> Result<ToldEvent, RequestError> {
        let direction = match direction {
            TimeDirection::Forwards => "f",
            TimeDirection::Backwards => "b",
        };
        let path = path("v1", "timestamp_to_event", &[&room_id]);
        let uri = format!("{path}?ts={time}&dir={direction}", time = time.0);
        self.get(server, &uri, Limits { bytes: MAX_ANSWER_BYTES, deadline }).await
    }
}
