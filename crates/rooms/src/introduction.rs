//! The state that introduces a room to somebody who is not in it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use room_engine::Pdu;
use ruma::UserId;

use crate::{OpenRoom, RoomError};

/// The types of the state events that introduce a room.
pub const INTRODUCTION: [&str; 8] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.history_visibility",
];

impl OpenRoom {
    /// The state events that introduce the room, and the member event of a user.
    ///
    /// # Errors
    /// [`RoomError`] if the state cannot be read.
    pub async fn introduction(&mut self, member: Option<&UserId>) -> Result<Vec<Pdu>, RoomError> {
        let mut events = Vec::with_capacity(INTRODUCTION.len() + 1);
        for event_type in INTRODUCTION {
            events.extend(self.state(event_type, "").await?);
        }
        if let Some(user_id) = member {
            events.extend(self.state("m.room.member", user_id.as_str()).await?);
        }
        Ok(events)
    }
}
