//! Redactions that came before the events that they redact.

use std::collections::HashMap;

use bytes::Bytes;
use homeserver_core::EventSn;
use room_engine::Pdu;
use room_engine::auth::{PowerLevels, may_redact};
use ruma::OwnedEventId;

use crate::resolving::RoomIdentity;
use crate::{RoomError, Timeline};

/// What an earlier redaction makes of an event.
pub(super) struct AlreadyRedacted {
    /// What is left of the event.
    pub(super) pdu: Pdu,
    /// The redaction, with its client JSON.
    pub(super) by: (EventSn, Bytes),
}

impl Timeline {
    /// Which of these events were redacted before they came, and what that leaves of them.
    pub(super) async fn redacted_before(
        &self,
        room: &RoomIdentity,
        events: &[&Pdu],
    ) -> Result<HashMap<OwnedEventId, AlreadyRedacted>, RoomError> {
        let events: HashMap<&str, &Pdu> = events.iter().map(|pdu| (pdu.event_id().as_str(), *pdu)).collect();
        let ids: Vec<String> = events.keys().map(ToString::to_string).collect();
        let found = self.database().awaited_redactions(room.room_sn, &ids).await?;
        let mut redacted = HashMap::with_capacity(found.len());
        if found.is_empty() {
            return Ok(redacted);
        }
        let Some(create) = self.stored_state(room, "m.room.create").await? else { return Ok(redacted) };
        let levels = self.stored_state(room, "m.room.power_levels").await?;
        let levels = PowerLevels::new(&create, levels.as_ref())?;
        for (target, stored) in found {
            let Some(event) = events.get(&*target) else { continue };
            let redaction = room.parse_stored(&stored)?;
            if may_redact(&levels, redaction.sender(), event.sender()) {
                let by = (stored.sn, stored.client_json.clone());
                let already = AlreadyRedacted { pdu: event.redacted()?, by };
                redacted.entry(event.event_id().to_owned()).or_insert(already);
            }
        }
        Ok(redacted)
    }
}
