//! The event of a room that is closest to a time.

use accounts::sessions::Requester;
use homeserver_core::Timestamp;
use ruma::RoomId;
use storage::StoredEvent;

use super::access::Access;
use super::history::History;
use crate::RoomError;
use crate::serving::{LOOKED_AT, TimeDirection};

/// The event closest to a time, as far as this server knows.
#[derive(Clone, Debug)]
pub struct EventAtTime {
    /// The event; `None` if there is none in the direction that the user may read.
    pub event: Option<StoredEvent>,
    /// Whether events are missing here that may be closer.
    pub is_near_gap: bool,
}

impl History {
    /// The event that was sent closest to a time and that the user may read.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user may not read the room.
    pub async fn event_at_time(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        time: Timestamp,
        direction: TimeDirection,
    ) -> Result<EventAtTime, RoomError> {
        let access = Access::open(&self.database, &self.interned, &self.states, requester, room_id).await?;
        let is_forwards = direction == TimeDirection::Forwards;
        let mut closest = None;
        for limit in LOOKED_AT {
            let found = self.database.events_from_time(access.room_sn, time, is_forwards, limit).await?;
            access.look_at(&self.database, &self.interned, &found).await?;
            closest = found.into_iter().find(|event| access.may_see(event));
            if closest.is_some() {
                break;
            }
        }
        // Forwards, the events before the closest one may be missing; backwards, it may be followed by missing ones.
        let is_near_gap = match &closest {
            None => self.database.has_gaps(access.room_sn).await?,
            Some(event) if is_forwards => {
                event.follows_gap && self.database.is_gap_at(access.room_sn, event.order).await?
            }
            Some(event) => self.database.is_gap_after(access.room_sn, event.order).await?,
        };
        Ok(EventAtTime { event: closest, is_near_gap })
    }
}
