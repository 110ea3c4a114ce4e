//! Receipts and presence, written as a whole.

use homeserver_core::{EventSn, Position, RoomSn, Timestamp, UserSn};
use serde::{Deserialize, Serialize};

use super::unknown;
use crate::StorageError;
use crate::presence::{Presence, PresenceState};
use crate::receipts::{Receipt, ReceiptThread, ReceiptType};

#[derive(Serialize, Deserialize)]
pub(super) struct WrittenReceipt {
    position: Position,
    room_sn: RoomSn,
    user_sn: UserSn,
    /// As in the table of receipts.
    receipt_type: i64,
    /// As in the table of receipts, with the ID of the root.
    thread: (i64, Option<Box<str>>),
    event_sn: EventSn,
    event_id: Box<str>,
    received_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WrittenPresence {
    position: Position,
    user_sn: UserSn,
    state: i64,
    status_message: Option<Box<str>>,
    last_active_at: Timestamp,
}

impl WrittenReceipt {
    pub(super) fn of(receipt: &Receipt) -> Self {
        let Receipt { position, room_sn, user_sn, receipt_type, thread, event_sn, event_id, received_at } = receipt;
        let root = match thread {
            ReceiptThread::Thread(_, root) => Some(root.clone()),
            ReceiptThread::Unthreaded | ReceiptThread::Main => None,
        };
        Self {
            position: *position,
            room_sn: *room_sn,
            user_sn: *user_sn,
            receipt_type: receipt_type.code(),
            thread: (thread.code(), root),
            event_sn: *event_sn,
            event_id: event_id.clone(),
            received_at: *received_at,
        }
    }

    pub(super) fn read(self) -> Result<Receipt, StorageError> {
        let Self { position, room_sn, user_sn, receipt_type, thread: (thread, root), event_sn, event_id, received_at } =
            self;
        let receipt_type =
            ReceiptType::from_code(receipt_type).ok_or_else(|| unknown("type of receipt", receipt_type))?;
        let thread = ReceiptThread::from_code(thread, root).ok_or_else(|| unknown("thread of a receipt", thread))?;
        Ok(Receipt { position, room_sn, user_sn, receipt_type, thread, event_sn, event_id, received_at })
    }
}

impl WrittenPresence {
    pub(super) fn of(presence: &Presence) -> Self {
        let Presence { position, user_sn, state, status_message, last_active_at } = presence;
        Self {
            position: *position,
            user_sn: *user_sn,
            state: state.code(),
            status_message: status_message.clone(),
            last_active_at: *last_active_at,
        }
    }

    pub(super) fn read(self) -> Result<Presence, StorageError> {
        let Self { position, user_sn, state, status_message, last_active_at } = self;
        let state = PresenceState::from_code(state).ok_or_else(|| unknown("state of presence", state))?;
        Ok(Presence { position, user_sn, state, status_message, last_active_at })
    }
}
