//! Jobs that follow from changes of rooms. The `background` crate runs them.

use std::time::Duration;

use ruma::{OwnedRoomId, OwnedServerName};
use serde::{Deserialize, Serialize};
use tasks::queue::{Job, Priority, Retry};

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

/// Learns the rest of the state of a room that this server has joined without being told of all members.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct CompleteRoomState {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that may know the state, the one first by which this server entered the room.
    pub servers: Vec<OwnedServerName>,
}

impl Job for CompleteRoomState {
    const NAME: &str = "complete_room_state";
    const IS_INTERRUPTIBLE: bool = true;
    /// The members are waited for, and one of the servers will be there again.
    const RETRY: Retry = Retry {
        attempts: 50_000,
        max_age: Duration::from_secs(30 * 24 * 3600),
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(60),
    };

    fn key(&self) -> Option<String> {
        Some(self.room_id.to_string())
    }
}
