//! Jobs that follow from changes of rooms. The `background` crate runs them.

use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};
use tasks::queue::{Job, Priority};

/// Copies the members' settings of a room to the room that replaces it.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct InheritRoomSettings {
    /// The room that was replaced.
    pub old_room_id: OwnedRoomId,
    /// The room that replaces it.
    pub new_room_id: OwnedRoomId,
}

impl Job for InheritRoomSettings {
    const NAME: &str = "inherit_room_settings";
    const PRIORITY: Priority = Priority::Urgent;

    fn key(&self) -> Option<String> {
        Some(format!("{} {}", self.old_room_id, self.new_room_id))
    }
}

/// Removes the guests from a room that no longer admits them.
#[derive(Clone, Copy, Serialize, Deserialize, Debug)]
pub struct RemoveGuests {
    /// The room's number.
    pub room_sn: i64,
}

impl Job for RemoveGuests {
    const NAME: &str = "remove_guests";
    const PRIORITY: Priority = Priority::Urgent;

    fn key(&self) -> Option<String> {
        Some(self.room_sn.to_string())
    }
}
