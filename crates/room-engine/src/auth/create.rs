//! Rule 1: the create event.

use super::AuthError;
use crate::Pdu;

/// [Rule 1](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules), without the absence of `room_id` in version
/// 12, on which parsing insists.
pub(super) fn check_create(event: &Pdu) -> Result<(), AuthError> {
    check_is_first(event)?;
    check_room_id(event)?;
    check_version(event)?;
    check_creators(event)
}

/// Rule 1.1.
fn check_is_first(event: &Pdu) -> Result<(), AuthError> {
    if event.prev_events().is_empty() { Ok(()) } else { Err(AuthError::CreateHasPrevEvents) }
}

/// Rule 1.2 of versions 1 to 11.
fn check_room_id(event: &Pdu) -> Result<(), AuthError> {
    let ours =
        event.version().room_id_is_create_hash() || event.room_id().server_name() == Some(event.sender().server_name());
    if ours { Ok(()) } else { Err(AuthError::CreateForOtherServer) }
}

/// Rule 1.3.
fn check_version(event: &Pdu) -> Result<(), AuthError> {
    match event.create()?.room_version {
        Ok(_) => Ok(()),
        Err(_) => Err(AuthError::CreateOfUnknownVersion),
    }
}

/// Rule 1.4: `creator` up to version 10, `additional_creators` since version 12.
fn check_creators(event: &Pdu) -> Result<(), AuthError> {
    let rules = &event.version().rules().authorization;
    let content = event.create()?;
    if !rules.use_room_create_sender && !content.has_creator {
        Err(AuthError::CreateWithoutCreator)
    } else if rules.additional_room_creators && content.additional_creators.is_none() {
        Err(AuthError::MalformedAdditionalCreators)
    } else {
        Ok(())
    }
}
