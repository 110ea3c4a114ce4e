//! Redactions of events in an open room.

use room_engine::auth::{PowerLevel, PowerLevels, may_redact};
use room_engine::{Pdu, Relation};
use ruma::{EventId, UserId};
use storage::{EventNumber, Interned, Redaction, StorageError};

use super::OpenRoom;
use crate::RoomError;

impl OpenRoom {
    /// The event that `sender` redacts; `None` of one that may be in the room and has not come here yet. Who may
    /// redact everything may redact that, too.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if it is not in this room, [`RoomError::Forbidden`] if the sender may not redact it.
    pub(super) async fn redaction_of(
        &mut self,
        sender: &UserId,
        target: &EventId,
    ) -> Result<Option<(Pdu, EventNumber)>, RoomError> {
        let stored = self.database.stored_pdu_by_id(target.as_str()).await?;
        let room_sn = self.head()?.room_sn;
        let levels = self.power_levels().await?;
        let is_unknown = stored.is_none() && self.database.is_shared(room_sn).await?;
        if is_unknown && levels.user_level(sender) >= PowerLevel::Finite(levels.redact()) {
            return Ok(None);
        }
        let Some(stored) = stored.filter(|stored| stored.room_sn == room_sn) else {
            return Err(RoomError::NotFound(format!("There is no event {target} in this room.")));
        };
        let (pdu, number) = self.head()?.parse(stored)?;
        if pdu.sender() != sender && !may_redact_others(&levels, sender, pdu.sender()) {
            return Err(RoomError::Forbidden("You may not redact events of others in this room.".to_owned()));
        }
        if matches!(pdu.event_type(), "m.room.create" | "m.room.server_acl") {
            return Err(RoomError::Forbidden(format!(
                "{} cannot be redacted: the room would break.",
                pdu.event_type()
            )));
        }
        Ok(Some((pdu, number)))
    }
}

/// The stored form of an event after a redaction, which leaves `redacted` of `original`.
pub(crate) async fn redaction(
    interned: &Interned,
    original: &Pdu,
    redacted: &Pdu,
    number: EventNumber,
) -> Result<Redaction, StorageError> {
    let member = match redacted.state_key() {
        Some(user_id) if redacted.event_type() == "m.room.member" => Some(interned.user(user_id).await?),
        _ => None,
    };
    let (client_json, federation_json) = (redacted.client_json().clone(), redacted.federation_json().clone());
    let relates_to = Relation::of(original.client_json()).map(|relation| relation.event_id.into());
    Ok(Redaction { number, client_json, federation_json, member, relates_to })
}

/// A local user needs the power level to redact the event of another local user: the rule that lets senders on the same
/// server redact each other's events is for servers.
fn may_redact_others(levels: &PowerLevels, sender: &UserId, redacted_sender: &UserId) -> bool {
    let is_remote = sender.server_name() != redacted_sender.server_name();
    (is_remote && may_redact(levels, sender, redacted_sender))
        || levels.user_level(sender) >= PowerLevel::Finite(levels.redact())
}
