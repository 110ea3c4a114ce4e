//! The event of a room that is closest to a time.

use homeserver_core::Timestamp;
use ruma::{RoomId, ServerName};
use serde_json::json;
use storage::StoredEvent;

use super::Serving;
use crate::RoomError;

/// Events that are looked at for one that may be seen: first a few, then many.
pub(crate) const LOOKED_AT: [i64; 2] = [20, 1_000];

/// In which direction from a time the closest event is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeDirection {
    /// At the time or after it.
    Forwards,
    /// At the time or before it.
    Backwards,
}

impl Serving {
    /// The event that was sent closest to a time: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid>
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] if the server is not in the room, [`RoomError::NotFound`] if there is no event in the direction.
    pub async fn event_at_time(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        time: Timestamp,
        direction: TimeDirection,
    ) -> Result<Vec<u8>, RoomError> {
        let served = self.open(server, room_id).await?;
        let is_forwards = direction == TimeDirection::Forwards;
        for limit in LOOKED_AT {
            let found = self.database.events_from_time(served.room.room_sn, time, is_forwards, limit).await?;
            if let Some(event) = self.first_visible(&served, &found).await? {
                return Ok(answer_at_time(event));
            }
        }
        Err(none_at_time())
    }
}

/// The answer that names an event.
#[must_use]
pub fn answer_at_time(event: &StoredEvent) -> Vec<u8> {
    let answer = json!({ "event_id": event.event_id, "origin_server_ts": event.origin_server_ts.0 });
    answer.to_string().into_bytes()
}

/// The error if there is no event in the direction.
#[must_use]
pub fn none_at_time() -> RoomError {
    RoomError::NotFound("There is no event in this direction from the time, or you may not read it.".to_owned())
}
