//! The form that a filter wants events to have.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use std::collections::HashMap;

use accounts::filters::{EventFields, EventFormat};
use homeserver_core::EventSn;
use room_engine::{RoomVersion, join};
use rooms::RoomError;
use rooms::wire::{Reader, write_event};
use ruma::RoomId;
use storage::{Membership, StoredEvent};

use super::Sync;
use super::joined::RoomAnswer;
use crate::providers::Pass;

/// How the events of a room are written.
#[derive(Clone, Copy)]
pub(super) struct EventForm<'a> {
    pub(super) reader: Reader<'a>,
    /// The events that are written as servers exchange them.
    pub(super) pdus: &'a HashMap<EventSn, Vec<u8>>,
    pub(super) fields: Option<&'a EventFields>,
}

impl EventForm<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>, event: &StoredEvent, membership: Option<Membership>) {
        let start = out.len();
        match self.pdus.get(&event.sn) {
            Some(pdu) => out.extend_from_slice(pdu),
            None => write_event(out, event, &self.reader, membership),
        }
        if let Some(fields) = self.fields {
            fields.retain(out, start);
        }
    }
}

impl Sync {
    /// Reads the whole events of a room's answer, if they are to be written as servers exchange them.
    pub(super) async fn add_pdus(&self, pass: &Pass<'_>, room: &mut RoomAnswer) -> Result<(), RoomError> {
        if pass.wants.filter.event_format == EventFormat::Client {
            return Ok(());
        }
        let Some(room_sn) = room.timeline.iter().chain(&room.state).map(|event| event.room_sn).next() else {
            return Ok(());
        };
        let Some(head) = self.providers.database.room_head(room_sn).await? else { return Ok(()) };
        let version: RoomVersion = head.room_version.parse()?;
        let room_id = RoomId::parse(&*room.room_id).map_err(|error| RoomError::Invalid(error.to_string()))?;
        for event in room.timeline.iter().chain(&room.state) {
            if let Some(stored) = self.providers.database.stored_pdu(event.sn).await? {
                let pdu = join(&stored.client_json, &stored.federation_json, &room_id, version);
                room.pdus.insert(event.sn, pdu);
            }
        }
        Ok(())
    }
}
