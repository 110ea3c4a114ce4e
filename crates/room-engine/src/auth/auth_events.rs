//! The rules about `auth_events`, which do not depend on the state.

use super::{AuthError, auth_types_for_event};
use crate::Pdu;

/// An event of `auth_events`, and what became of it here.
#[derive(Debug, Clone, Copy)]
pub struct AuthEvent<'a> {
    /// The event.
    pub event: &'a Pdu,
    /// Whether it failed the checks when it came in.
    pub rejected: bool,
}

/// Checks the `auth_events` of an event. The caller has looked up all of them.
///
/// `create` is the create event of the room, which version 12 does not name in `auth_events`.
///
/// # Errors
/// The rule that refuses the event.
pub fn check_auth_events(
    event: &Pdu,
    auth_events: &[AuthEvent<'_>],
    create: Option<AuthEvent<'_>>,
) -> Result<(), AuthError> {
    if event.event_type() == "m.room.create" {
        return Ok(());
    }
    check_room_id(event, create)?;
    check_no_duplicates(auth_events)?;
    check_only_needed(event, auth_events)?;
    check_none_rejected(auth_events)?;
    check_create_is_named(event, auth_events)?;
    check_same_room(event, auth_events)
}

/// [Rule 2 of version 12](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules): the room's ID is that of an
/// accepted create event.
fn check_room_id(event: &Pdu, create: Option<AuthEvent<'_>>) -> Result<(), AuthError> {
    if !event.version().room_id_is_create_hash() {
        return Ok(());
    }
    let accepted = create.is_some_and(|create| {
        !create.rejected
            && create.event.is_state("m.room.create", "")
            && create.event.event_id().as_str().strip_prefix('$') == event.room_id().as_str().strip_prefix('!')
    });
    if accepted { Ok(()) } else { Err(AuthError::RoomIdWithoutCreate) }
}

/// [Rule 2.1](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules).
fn check_no_duplicates(auth_events: &[AuthEvent<'_>]) -> Result<(), AuthError> {
    for (index, AuthEvent { event, .. }) in auth_events.iter().enumerate() {
        let Some(state_key) = event.state_key() else { continue };
        if auth_events.iter().take(index).any(|earlier| earlier.event.is_state(event.event_type(), state_key)) {
            return Err(AuthError::DuplicateAuthEvent {
                event_type: event.event_type().into(),
                state_key: state_key.into(),
            });
        }
    }
    Ok(())
}

/// [Rule 2.2](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules).
fn check_only_needed(event: &Pdu, auth_events: &[AuthEvent<'_>]) -> Result<(), AuthError> {
    let needed =
        auth_types_for_event(event.version(), event.event_type(), event.sender(), event.state_key(), event.content())?;
    let stray = auth_events.iter().find(|candidate| {
        !needed.iter().any(|(event_type, state_key)| candidate.event.is_state(event_type, state_key))
    });
    match stray {
        Some(stray) => Err(AuthError::UnneededAuthEvent { event_id: stray.event.event_id().to_owned() }),
        None => Ok(()),
    }
}

/// [Rule 2.3](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules).
fn check_none_rejected(auth_events: &[AuthEvent<'_>]) -> Result<(), AuthError> {
    match auth_events.iter().find(|candidate| candidate.rejected) {
        Some(rejected) => Err(AuthError::RejectedAuthEvent { event_id: rejected.event.event_id().to_owned() }),
        None => Ok(()),
    }
}

/// [Rule 2.4](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules) of versions 1 to 11.
fn check_create_is_named(event: &Pdu, auth_events: &[AuthEvent<'_>]) -> Result<(), AuthError> {
    let named = event.version().room_id_is_create_hash()
        || auth_events.iter().any(|candidate| candidate.event.is_state("m.room.create", ""));
    if named { Ok(()) } else { Err(AuthError::NoCreateEvent) }
}

/// [Rule 2.5](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules).
fn check_same_room(event: &Pdu, auth_events: &[AuthEvent<'_>]) -> Result<(), AuthError> {
    match auth_events.iter().find(|candidate| candidate.event.room_id() != event.room_id()) {
        Some(foreign) => Err(AuthError::AuthEventOfOtherRoom { event_id: foreign.event.event_id().to_owned() }),
        None => Ok(()),
    }
}
