//! What is published when a transaction has committed.

use std::sync::Arc;

use homeserver_core::{Position, RoomSn, UserSn};

use crate::events::StoredEvent;

/// Something new in the log. Whoever follows the log sees the entries of all transactions in the order of their positions.
#[derive(Clone, Debug)]
pub enum LogEntry {
    /// An event was added to a room's timeline.
    Event(Arc<StoredEvent>),
    /// A user's account data was changed, for one room or (`None`) globally.
    AccountData {
        /// Where in the log.
        position: Position,
        /// Whose.
        user_sn: UserSn,
        /// In which room.
        room_sn: Option<RoomSn>,
    },
}

impl LogEntry {
    /// Where in the log the entry stands.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Event(event) => event.sn.position(),
            Self::AccountData { position, .. } => *position,
        }
    }
}

/// Follows the log of this node.
pub trait LogObserver: Send + Sync {
    /// Is told of the entries of one committed transaction, before any of those who asked for the writes have their answer.
    /// Runs on the writer's thread: it must not wait.
    fn committed(&self, entries: &[LogEntry]);
}
