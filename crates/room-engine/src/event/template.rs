//! Events that one server proposes and another one signs.

use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, ServerName, room_version_rules::EventsReferenceFormatVersion,
    signatures::Ed25519KeyPair,
};

use super::{
    BuiltEvent, EventBuilder, EventReference, Pdu,
    fields::{identifier, integer, limited_string, references, required},
};
use crate::{
    CanonicalObject, EventError, MAX_AUTH_EVENTS, MAX_PREV_EVENTS, Members, ParseLimits, RoomVersion,
    canonical::{ObjectWriter, elements, member, string_value},
};

/// An event without hashes, signatures and ID, which the server in the room proposes for the
/// [handshakes](https://spec.matrix.org/v1.19/server-server-api/#joining-rooms) of joining, leaving and knocking.
#[derive(Debug, Clone)]
pub struct EventTemplate {
    /// The version of the room.
    pub version: RoomVersion,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who is to send the event.
    pub sender: OwnedUserId,
    /// The `type`.
    pub event_type: String,
    /// The `state_key`, for a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: CanonicalObject,
    prev_events: Vec<EventReference>,
    auth_events: Vec<EventReference>,
    depth: i64,
}

impl EventTemplate {
    /// Reads a template. What it has beside the keys of events is left out.
    ///
    /// # Errors
    /// When a key is missing or of the wrong form, or a limit is passed.
    pub fn parse(version: RoomVersion, json: &[u8]) -> Result<Self, EventError> {
        let object = CanonicalObject::parse_within(json, ParseLimits::event(version.numbers()))?;
        let json = object.as_bytes();
        let content = required(json, "content")?;
        if content.first() != Some(&b'{') {
            return Err(EventError::NotAnObject { key: "content" });
        }
        let state_key = match member(json, "state_key") {
            Some(value) => Some(limited_string(value, "state_key")?.into_owned()),
            None => None,
        };
        Ok(Self {
            version,
            room_id: identifier(json, "room_id", "a room ID")?,
            sender: identifier(json, "sender", "a user ID")?,
            event_type: limited_string(required(json, "type")?, "type")?.into_owned(),
            state_key,
            content: CanonicalObject::parse(content, version.numbers())?,
            prev_events: hashed_references(version, json, "prev_events", MAX_PREV_EVENTS)?,
            auth_events: hashed_references(version, json, "auth_events", MAX_AUTH_EVENTS)?,
            depth: integer(json, "depth")?,
        })
    }

    /// The template of an event that was built here.
    pub fn json_of(pdu: &Pdu) -> Vec<u8> {
        let json = pdu.to_json();
        let mut out = Vec::with_capacity(json.len());
        let mut writer = ObjectWriter::begin(&mut out);
        let is_proposed = |key: &[u8]| !matches!(key, b"event_id" | b"hashes" | b"signatures" | b"unsigned");
        for (key, value) in Members::new(&json).filter(|(key, _)| is_proposed(key)) {
            writer.raw_key(key).extend_from_slice(value);
        }
        writer.end();
        out
    }

    /// Hashes and signs the event, with other content, as `server_name`.
    ///
    /// # Errors
    /// When a part of the event or the whole is over its limit.
    pub fn build(
        &self,
        content: CanonicalObject,
        origin_server_ts: i64,
        server_name: &ServerName,
        key_pair: &Ed25519KeyPair,
    ) -> Result<BuiltEvent, EventError> {
        let event_id: Option<OwnedEventId> = self.version.event_id_in_pdu().then(|| EventId::new_v1(server_name));
        let builder = EventBuilder {
            version: self.version,
            room_id: Some(&self.room_id),
            event_id: event_id.as_deref(),
            sender: &self.sender,
            event_type: &self.event_type,
            state_key: self.state_key.as_deref(),
            content,
            redacts: None,
            prev_events: &self.prev_events,
            auth_events: &self.auth_events,
            depth: self.depth,
            origin_server_ts,
        };
        builder.build(server_name, key_pair)
    }
}

/// As [`references`], with the hashes that versions 1 and 2 write beside the IDs.
fn hashed_references(
    version: RoomVersion,
    json: &[u8],
    key: &'static str,
    limit: usize,
) -> Result<Vec<EventReference>, EventError> {
    let ids = references(version, json, key, limit)?.into_vec();
    if version.rules().events_reference_format != EventsReferenceFormatVersion::V1 {
        return Ok(ids.into_iter().map(EventReference::from).collect());
    }
    let hash_of = |pair| elements(pair).nth(1).and_then(|hashes| member(hashes, "sha256")).and_then(string_value);
    let hashes = elements(required(json, key)?).map(|pair| hash_of(pair).map(|hash| hash.into_owned().into()));
    Ok(ids.into_iter().zip(hashes).map(|(event_id, sha256)| EventReference { event_id, sha256 }).collect())
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, server_name, user_id};

    use super::*;
    use crate::Numbers;

    fn key_pair() -> Ed25519KeyPair {
        let document = Ed25519KeyPair::generate();
        Ed25519KeyPair::from_der(&document, "1".to_owned()).unwrap()
    }

    fn proposed(version: RoomVersion) -> Pdu {
        let reference = EventReference {
            event_id: EventId::parse("$one:here.example").unwrap(),
            sha256: version.event_id_in_pdu().then(|| "abc".into()),
        };
        let event_id = version.event_id_in_pdu().then(|| EventId::new_v1(server_name!("here.example")));
        let builder = EventBuilder {
            version,
            room_id: Some(room_id!("!room:here.example")),
            event_id: event_id.as_deref(),
            sender: user_id!("@bob:there.example"),
            event_type: "m.room.member",
            state_key: Some("@bob:there.example"),
            content: CanonicalObject::parse(br#"{"membership":"join"}"#, Numbers::Strict).unwrap(),
            redacts: None,
            prev_events: std::slice::from_ref(&reference),
            auth_events: std::slice::from_ref(&reference),
            depth: 7,
            origin_server_ts: 8,
        };
        builder.build(server_name!("here.example"), &key_pair()).unwrap().pdu
    }

    #[test]
    fn hashes_beside_ids_may_be_missing() {
        let proposal = String::from_utf8(EventTemplate::json_of(&proposed(RoomVersion::V1))).unwrap();
        let proposal = proposal.replace(r#"{"sha256":"abc"}"#, "{}");
        let template = EventTemplate::parse(RoomVersion::V1, proposal.as_bytes()).unwrap();
        let built = template.build(template.content.clone(), 9, server_name!("there.example"), &key_pair()).unwrap();
        assert!(
            String::from_utf8(built.pdu.to_json()).unwrap().contains(r#""prev_events":[["$one:here.example",{}]]"#)
        );
    }

    #[test]
    fn what_is_proposed_is_what_is_signed() {
        for version in RoomVersion::ALL {
            let pdu = proposed(version);
            let json = EventTemplate::json_of(&pdu);
            for key in ["event_id", "hashes", "signatures"] {
                assert!(member(&json, key).is_none(), "{key}");
            }
            let template = EventTemplate::parse(version, &json).unwrap();
            let content = template.content.clone();
            let built = template.build(content, 9, server_name!("there.example"), &key_pair()).unwrap().pdu;
            assert_eq!(member(&built.to_json(), "prev_events"), member(&json, "prev_events"));
            assert_eq!((built.depth(), built.sender()), (7, user_id!("@bob:there.example")));
            assert!(member(built.signatures().unwrap(), "there.example").is_some());
        }
    }

    #[test]
    fn a_second_signature_stands_beside_the_first() {
        for version in RoomVersion::ALL {
            let pdu = proposed(version);
            let signed = pdu.signed(server_name!("there.example"), &key_pair()).unwrap();
            assert_eq!(signed.event_id(), pdu.event_id());
            let signatures = signed.signatures().unwrap();
            assert!(member(signatures, "here.example").is_some() && member(signatures, "there.example").is_some());
            assert!(Pdu::parse(version, &signed.to_json()).unwrap().has_valid_content_hash());
        }
    }

    #[test]
    fn what_is_no_event_is_no_template() {
        for json in ["", "[]", "{}", r#"{"type":"m.room.member"}"#] {
            assert!(EventTemplate::parse(RoomVersion::V11, json.as_bytes()).is_err(), "{json}");
        }
    }
}
