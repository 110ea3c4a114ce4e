use ruma::RoomVersionId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::room_version;

/// Rooms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// The version of rooms created here when the client names none.
    #[serde(deserialize_with = "room_version")]
    #[schemars(with = "String")]
    pub default_version: RoomVersionId,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { default_version: RoomVersionId::V12 }
    }
}
