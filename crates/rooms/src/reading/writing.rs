//! Writing events as one user sees them.

use accounts::sessions::Requester;
use homeserver_core::Timestamp;
use storage::{Database, StorageError, StoredEvent};

use super::access::Access;
use crate::wire::{Reader, write_event, write_list};

/// Writes events as one user sees them.
pub(super) struct EventWriter<'a> {
    reader: Reader<'a>,
    access: &'a Access<'a>,
}

impl<'a> EventWriter<'a> {
    pub(super) fn new(access: &'a Access<'a>, now: Timestamp) -> Self {
        let room_id = Some(access.room_id.as_str());
        Self { reader: Reader { room_id, now, device_sn: access.requester.device_sn }, access }
    }

    /// An event of the timeline, with the reader's membership at that time.
    pub(super) fn event(&self, out: &mut Vec<u8>, event: &StoredEvent) {
        write_event(out, event, &self.reader, Some(self.access.membership_at(event)));
    }

    pub(super) fn timeline(&self, out: &mut Vec<u8>, events: &[StoredEvent]) {
        write_list(out, events, |out, event| self.event(out, event));
    }

    /// State events, which have no membership of the reader.
    pub(super) fn state<'e>(&self, out: &mut Vec<u8>, events: impl IntoIterator<Item = &'e StoredEvent>) {
        write_list(out, events, |out, event| write_event(out, event, &self.reader, None));
    }
}

/// Adds the transaction ID to an event that the reader's device sent.
pub(super) async fn with_transaction_id(
    database: &Database,
    requester: &Requester,
    event: &mut StoredEvent,
) -> Result<(), StorageError> {
    let Some(device_sn) = requester.device_sn.filter(|_| event.sender_sn == requester.user_sn) else { return Ok(()) };
    let found = database.transaction_ids(device_sn, &[event.sn.0]).await?.pop();
    event.transaction = found.map(|(_, transaction_id)| (device_sn, transaction_id));
    Ok(())
}
