//! The [authorisation rules](https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules) of room versions 1
//! to 12.
//!
//! Rule numbers in this module are those of [version 11](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules)
//! where nothing else is said; version 12 has one more rule in front of them.
//!
//! The rules that depend on the state are [`check`]; it is called with the state before the event, and for events of
//! other servers also with the state that `auth_events` make and with the current state. The rules about
//! `auth_events` themselves are [`check_auth_events`]. Signatures, among them the one of rule 4.2, are checked on
//! [receipt](crate::receipt).

mod auth_events;
mod create;
mod error;
mod invite;
mod member;
mod power_level_change;
mod power_levels;
mod redaction;
mod room;
mod selection;
mod state;

use crate::Pdu;

pub use auth_events::{AuthEvent, check_auth_events};
pub use error::{Action, AuthError};
pub use power_levels::{PowerLevel, PowerLevels};
pub use redaction::may_redact;
pub use selection::{AuthType, auth_types_for_event};
pub use state::{AuthState, StateLookup};

use room::Room;

/// Decides whether `event` is allowed in a room whose state is `state`.
///
/// `state` needs to know no more than what [`auth_types_for_event`] lists, and the create event in every version.
///
/// # Errors
/// The rule that refuses the event, as a sentence for its sender.
pub fn check<S: StateLookup + ?Sized>(event: &Pdu, state: &S) -> Result<(), AuthError> {
    if event.event_type() == "m.room.create" {
        return create::check_create(event);
    }
    let room = Room::new(event, state)?;
    check_federation(event, &room)?;
    match event.event_type() {
        "m.room.aliases" if room.rules().special_case_room_aliases => return check_aliases(event),
        "m.room.member" => return member::check_member(event, &room),
        _ => check_sender_is_joined(event, &room)?,
    }
    let levels = room.power_levels()?;
    if event.event_type() == "m.room.third_party_invite" {
        return invite::check_may_invite(event.sender(), &levels);
    }
    check_required_level(event, &levels)?;
    check_state_key_owner(event)?;
    match event.event_type() {
        "m.room.power_levels" => power_level_change::check_power_levels(event, &room, &levels),
        "m.room.redaction" if room.rules().special_case_room_redaction => redaction::check_redaction(event, &levels),
        _ => Ok(()),
    }
}

/// [Rule 3](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): a room with `m.federate: false` is closed to
/// other servers.
fn check_federation<S: StateLookup + ?Sized>(event: &Pdu, room: &Room<'_, S>) -> Result<(), AuthError> {
    if room.create_content().federate || room.create().sender().server_name() == event.sender().server_name() {
        Ok(())
    } else {
        Err(AuthError::NotFederated)
    }
}

/// [Rule 4 of versions 1 to 5](https://spec.matrix.org/v1.19/rooms/v5/#authorisation-rules): a server sets only its own
/// aliases.
fn check_aliases(event: &Pdu) -> Result<(), AuthError> {
    if event.state_key() == Some(event.sender().server_name().as_str()) {
        Ok(())
    } else {
        Err(AuthError::AliasesOfOtherServer)
    }
}

/// [Rule 5](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): the sender is in the room.
fn check_sender_is_joined<S: StateLookup + ?Sized>(event: &Pdu, room: &Room<'_, S>) -> Result<(), AuthError> {
    if room.is_joined(event.sender()) { Ok(()) } else { Err(AuthError::SenderNotJoined) }
}

/// [Rule 7](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): the sender has the level that events of this
/// type need.
fn check_required_level(event: &Pdu, levels: &PowerLevels) -> Result<(), AuthError> {
    let needed = levels.required_to_send(event.event_type(), event.state_key().is_some());
    levels.require(event.sender(), needed, || Action::Send(event.event_type().into()))
}

/// [Rule 8](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): state under a user's ID is that user's own.
fn check_state_key_owner(event: &Pdu) -> Result<(), AuthError> {
    match event.state_key() {
        Some(key) if key.starts_with('@') && key != event.sender().as_str() => Err(AuthError::StateOfOtherUser),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
