use ruma::RoomVersionId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Period, room_version};

/// Rooms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// The version of rooms created here when the client names none.
    #[serde(deserialize_with = "room_version")]
    #[schemars(with = "String")]
    pub default_version: RoomVersionId,
    /// How long a request for all members of a room waits for them, where this server has just joined the room and does not
    /// know them yet. Shorter than what proxies in front of it wait for an answer.
    pub full_state_timeout: Period,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { default_version: RoomVersionId::V12, full_state_timeout: Period::from_secs(30) }
    }
}
