//! What follows from a change of a room, as jobs: the `background` crate does their work.

use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};
use tasks::queue::{Job, Priority};

/// The members of a room are to have what they have set for the room that it replaces.
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

/// The guests in a room are to leave it, because it does not admit guests any more.
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
