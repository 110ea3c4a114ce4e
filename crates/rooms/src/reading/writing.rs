//! Writing events as one user sees them.

use std::collections::HashMap;

use accounts::sessions::Requester;
use homeserver_core::{EventSn, Timestamp};
use storage::{Database, StorageError, StoredEvent};

use super::access::Access;
use crate::wire::{Bundles, Reader, write_event, write_list};

/// Writes events as one user sees them.
pub(super) struct EventWriter<'a> {
    reader: Reader<'a>,
    access: &'a Access<'a>,
}

impl<'a> EventWriter<'a> {
    pub(super) fn new(access: &'a Access<'a>, now: Timestamp) -> Self {
        let room_id = Some(access.room_id.as_str());
        Self { reader: Reader { room_id, now, device_sn: access.requester.device_sn, bundles: None }, access }
    }

    /// Tells with events of the timeline what relates to them.
    pub(super) fn with_bundles(self, bundles: &'a Bundles) -> Self {
        Self { reader: Reader { bundles: Some(bundles), ..self.reader }, ..self }
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
        let reader = Reader { bundles: None, ..self.reader };
        write_list(out, events, |out, event| write_event(out, event, &reader, None));
    }
}

/// Adds the transaction IDs to events that the reader's device sent.
pub(super) async fn with_transaction_ids(
    database: &Database,
    requester: &Requester,
    events: &mut [StoredEvent],
) -> Result<(), StorageError> {
    let Some(device_sn) = requester.device_sn else { return Ok(()) };
    let own = events.iter().filter(|event| event.sender_sn == requester.user_sn).map(|event| event.sn.0);
    let own: Vec<i64> = own.collect();
    if own.is_empty() {
        return Ok(());
    }
    let mut ids: HashMap<EventSn, Box<str>> = database.transaction_ids(device_sn, &own).await?.into_iter().collect();
    for event in events {
        event.transaction = ids.remove(&event.sn).map(|transaction_id| (device_sn, transaction_id));
    }
    Ok(())
}
