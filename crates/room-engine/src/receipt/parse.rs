//! The first step: the event has the form of its room version.

use ruma::RoomId;

use super::{
    Dropped, KeyLookup, KeyUse, NeededSignature, Rejected, Signer, VerifiedPdu,
    signatures::{authorising_user, check_signature, needed_signatures, signed_bytes},
};
use crate::{
    EventError, Pdu, RoomVersion,
    canonical::{member, string_value},
};

/// How much of an event is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All that was sent.
    Whole,
    /// What a redaction leaves, because the content hash does not fit what was sent.
    Redacted,
}

/// An event of another server that has the form of its room version. Nobody has vouched for it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedPdu {
    event: Pdu,
    form: Form,
}

impl ReceivedPdu {
    /// Reads an event that was sent for a room of this version.
    ///
    /// `room_id` is the room that it was sent for, where that is known. `unsigned`, which anyone on the way can change,
    /// is left out. When the content hash does not fit, the event goes on in its redacted form, which is all that the
    /// signatures are about.
    ///
    /// # Errors
    /// When the event does not have the [form](https://spec.matrix.org/v1.19/rooms/) of its version, passes a limit, is
    /// of another room, or names itself.
    pub fn parse(version: RoomVersion, room_id: Option<&RoomId>, json: &[u8]) -> Result<Self, Dropped> {
        let event = Pdu::parse(version, json)?.without_unsigned()?;
        check_hashes(&event)?;
        check_signatures(&event)?;
        check_event_id(&event)?;
        check_room(&event, room_id)?;
        check_version(&event)?;
        check_references(&event)?;
        if event.has_valid_content_hash() {
            Ok(Self { event, form: Form::Whole })
        } else {
            Ok(Self { event: event.redacted()?, form: Form::Redacted })
        }
    }

    /// The event in the form that is kept.
    pub fn event(&self) -> &Pdu {
        &self.event
    }

    /// How much of the event is kept.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The servers that must have signed, whose keys the caller looks up.
    pub fn needed_signatures(&self) -> Vec<NeededSignature> {
        needed_signatures(&self.event)
    }

    /// Checks the signatures of those servers, at the time that the event claims to be of.
    ///
    /// See [validating signatures](https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events).
    ///
    /// # Errors
    /// When a signature is missing or wrong, or no key that is known and counts was used.
    pub fn verify<K: KeyLookup + ?Sized>(self, keys: &K) -> Result<VerifiedPdu, Dropped> {
        let Self { event, form } = self;
        let (message, signatures) = (signed_bytes(&event), event.signatures().unwrap_or_default());
        let key_use = KeyUse::Event { version: event.version(), origin_server_ts: event.origin_server_ts() };
        let mut authorising = match authorising_user(&event) {
            Some(None) => Err(Rejected::AuthorisingUser),
            _ => Ok(()),
        };
        for NeededSignature { server, signer, .. } in needed_signatures(&event) {
            match check_signature(&server, signatures, &message, keys, key_use) {
                Ok(()) => {}
                // Without its keys nothing is known against the event; with them, it breaks a rule.
                Err(fault) if signer == Signer::AuthorisingUser && !fault.is_for_want_of_keys() => {
                    authorising = Err(Rejected::AuthorisingServer(fault));
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(VerifiedPdu::new(event, form, authorising))
    }
}

/// Every version requires [`hashes.sha256`](https://spec.matrix.org/v1.19/rooms/v11/#event-format-1).
fn check_hashes(event: &Pdu) -> Result<(), EventError> {
    let hashes = event.hashes().ok_or(EventError::MissingKey { key: "hashes" })?;
    match member(hashes, "sha256").and_then(string_value) {
        Some(_) => Ok(()),
        None => Err(EventError::WrongType { key: "hashes", expected: "an object with the string `sha256`" }),
    }
}

/// Every version requires [`signatures`](https://spec.matrix.org/v1.19/rooms/v11/#event-format-1). What is in it matters
/// only for the servers that must have signed.
fn check_signatures(event: &Pdu) -> Result<(), EventError> {
    match event.signatures() {
        None => Err(EventError::MissingKey { key: "signatures" }),
        Some(value) if value.starts_with(b"{") => Ok(()),
        Some(_) => Err(EventError::NotAnObject { key: "signatures" }),
    }
}

/// In versions 1 and 2 an [event ID](https://spec.matrix.org/v1.19/rooms/v1/#event-ids) names a server.
fn check_event_id(event: &Pdu) -> Result<(), EventError> {
    if event.version().event_id_in_pdu() && event.event_id().server_name().is_none() {
        return Err(EventError::WrongType { key: "event_id", expected: "an event ID with a server name" });
    }
    Ok(())
}

fn check_room(event: &Pdu, room_id: Option<&RoomId>) -> Result<(), Dropped> {
    match room_id {
        Some(expected) if event.room_id() != expected => {
            Err(Dropped::OtherRoom { room_id: event.room_id().to_owned() })
        }
        _ => Ok(()),
    }
}

/// The version that the events of a room are read by is the one that its create event names.
fn check_version(event: &Pdu) -> Result<(), Dropped> {
    let version = event.version();
    match event.create() {
        Ok(content) if content.room_version != Ok(version) => Err(Dropped::OtherVersion { version }),
        _ => Ok(()),
    }
}

/// Where IDs are not hashes, an event can name itself.
fn check_references(event: &Pdu) -> Result<(), Dropped> {
    let mut references = event.prev_events().iter().chain(event.auth_events());
    if references.any(|event_id| event_id == event.event_id()) {
        return Err(Dropped::NamesItself { event_id: event.event_id().to_owned() });
    }
    Ok(())
}
