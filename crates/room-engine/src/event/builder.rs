//! Making events here.

use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, RoomId, ServerName, UserId,
    room_version_rules::EventsReferenceFormatVersion,
    signatures::{Ed25519KeyPair, KeyPair as _},
};

use super::{
    fields::{check_length, parse_id, room_id_of_create},
    hash::{reference_hash_of_redacted, sha256_base64},
    pdu::{EventReference, Parts, Pdu},
    stored::{CONTENT_OFFSET, ClientParts, redacts_of_content},
};
use crate::{
    CanonicalObject, EventError, MAX_AUTH_EVENTS, MAX_CANONICAL_INTEGER, MAX_EVENT_BYTES, MAX_PREV_EVENTS, RoomVersion,
    canonical::{ObjectWriter, push_string},
    redact::push_redacted_content,
};

/// What a new event consists of. [`EventBuilder::build`] adds the content hash, the signature and the event ID.
#[derive(Debug, Clone)]
pub struct EventBuilder<'a> {
    /// The version of the room.
    pub version: RoomVersion,
    /// The room; left out only for a create event of version 12 or later, which makes its own.
    pub room_id: Option<&'a RoomId>,
    /// The ID of the event in versions 1 and 2; later versions derive it, and ignore this.
    pub event_id: Option<&'a EventId>,
    /// Who sends the event.
    pub sender: &'a UserId,
    /// The `type`.
    pub event_type: &'a str,
    /// The `state_key`, for a state event.
    pub state_key: Option<&'a str>,
    /// The content.
    pub content: CanonicalObject,
    /// The event to redact. It is written where the version wants it, which since version 11 is the content.
    pub redacts: Option<&'a EventId>,
    /// The events that this one follows.
    pub prev_events: &'a [EventReference],
    /// The events that permit this one.
    pub auth_events: &'a [EventReference],
    /// One more than the greatest depth of the previous events; brought into the range of the version.
    pub depth: i64,
    /// Milliseconds since the Unix epoch; brought into the canonical range.
    pub origin_server_ts: i64,
}

/// An event made here, ready to be stored and sent.
#[derive(Debug, Clone)]
pub struct BuiltEvent {
    /// The parsed event.
    pub pdu: Pdu,
    /// What clients see, without `room_id` and `unsigned`.
    pub client_json: Bytes,
    /// The other top-level keys of the PDU.
    pub federation_json: Bytes,
}

/// The parts of the event that are written more than once, as canonical JSON.
struct Fragments {
    auth_events: Vec<u8>,
    prev_events: Vec<u8>,
    depth: i64,
    origin_server_ts: i64,
}

impl EventBuilder<'_> {
    /// Hashes the event, signs it as `server_name`, and names it.
    ///
    /// See [signing events](https://spec.matrix.org/v1.19/server-server-api/#signing-events).
    ///
    /// # Errors
    /// When a part of the event or the whole is over its limit, or a part that the version needs is missing.
    pub fn build(mut self, server_name: &ServerName, key_pair: &Ed25519KeyPair) -> Result<BuiltEvent, EventError> {
        self.check()?;
        self.put_redacts_into_content();
        let fragments = Fragments {
            auth_events: references_json(self.version, self.auth_events),
            prev_events: references_json(self.version, self.prev_events),
            depth: self.depth.clamp(0, self.version.max_depth()),
            origin_server_ts: self.origin_server_ts.clamp(0, MAX_CANONICAL_INTEGER),
        };
        let unhashed = self.pdu_json(&fragments, None);
        let hashes = format!(r#"{{"sha256":"{}"}}"#, sha256_base64(&unhashed));
        let redacted = self.pdu_json(&fragments, Some(&hashes));
        let signatures = signatures_json(server_name, key_pair, &redacted);
        check_size(&unhashed, &hashes, &signatures)?;
        let (event_id, room_id) = self.names(&redacted)?;
        let federation_json = federation_json(&fragments, &hashes, &signatures);
        Ok(self.into_event(event_id, room_id, &fragments, federation_json.into()))
    }

    fn check(&self) -> Result<(), EventError> {
        check_length(self.sender.as_str(), "sender")?;
        check_length(self.event_type, "type")?;
        check_length(self.state_key.unwrap_or_default(), "state_key")?;
        check_length(self.room_id.map_or("", RoomId::as_str), "room_id")?;
        for (what, count, limit) in [
            ("prev_events", self.prev_events.len(), MAX_PREV_EVENTS),
            ("auth_events", self.auth_events.len(), MAX_AUTH_EVENTS),
        ] {
            if count > limit {
                return Err(EventError::TooMany { what, count, limit });
            }
        }
        match (self.room_id, self.makes_room_id()) {
            (Some(_), true) => Err(EventError::ForbiddenKey { key: "room_id" }),
            (None, false) => Err(EventError::MissingKey { key: "room_id" }),
            _ => Ok(()),
        }
    }

    fn makes_room_id(&self) -> bool {
        self.event_type == "m.room.create" && self.version.room_id_is_create_hash()
    }

    fn put_redacts_into_content(&mut self) {
        let Some(redacts) = self.redacts.filter(|_| self.version.redacts_in_content()) else { return };
        let mut value = Vec::with_capacity(redacts.as_str().len() + 2);
        push_string(&mut value, redacts.as_str());
        self.content = self.content.with_member("redacts", &value);
    }

    /// Writes the event without signatures: whole and without hashes, or redacted and with them.
    fn pdu_json(&self, fragments: &Fragments, hashes_if_redacted: Option<&str>) -> Vec<u8> {
        let lists = fragments.auth_events.len() + fragments.prev_events.len();
        let mut out = Vec::with_capacity(self.content.as_bytes().len() + lists + 768);
        let mut writer = ObjectWriter::begin(&mut out);
        writer.json("auth_events", &fragments.auth_events);
        if hashes_if_redacted.is_some() {
            let rules = &self.version.rules().redaction;
            push_redacted_content(writer.key("content"), rules, self.event_type, self.content.as_bytes());
        } else {
            writer.json("content", self.content.as_bytes());
        }
        writer.integer("depth", fragments.depth);
        if let Some(event_id) = self.event_id.filter(|_| self.version.event_id_in_pdu()) {
            writer.string("event_id", event_id.as_str());
        }
        if let Some(hashes) = hashes_if_redacted {
            writer.json("hashes", hashes.as_bytes());
        }
        writer.integer("origin_server_ts", fragments.origin_server_ts);
        writer.json("prev_events", &fragments.prev_events);
        if let Some(redacts) = self.redacts
            && hashes_if_redacted.is_none()
            && !self.version.redacts_in_content()
        {
            writer.string("redacts", redacts.as_str());
        }
        if let Some(room_id) = self.room_id {
            writer.string("room_id", room_id.as_str());
        }
        writer.string("sender", self.sender.as_str());
        if let Some(state_key) = self.state_key {
            writer.string("state_key", state_key);
        }
        writer.string("type", self.event_type);
        writer.end();
        out
    }

    fn names(&self, redacted: &[u8]) -> Result<(OwnedEventId, OwnedRoomId), EventError> {
        let event_id = if self.version.event_id_in_pdu() {
            let given = self.event_id.ok_or(EventError::MissingKey { key: "event_id" })?;
            check_length(given.as_str(), "event_id")?;
            given.to_owned()
        } else {
            let hash = reference_hash_of_redacted(self.version, redacted);
            parse_id(&format!("${hash}"), "event_id", "an event ID")?
        };
        let room_id = match self.room_id {
            Some(room_id) => room_id.to_owned(),
            None => room_id_of_create(&event_id)?,
        };
        Ok((event_id, room_id))
    }

    fn into_event(
        self,
        event_id: OwnedEventId,
        room_id: OwnedRoomId,
        fragments: &Fragments,
        federation_json: Bytes,
    ) -> BuiltEvent {
        let client_json = self.client_json(&event_id, fragments);
        let content_end = CONTENT_OFFSET + self.content.as_bytes().len();
        let redacted_event = match self.redacts {
            Some(redacts) => Some(redacts.to_owned()),
            None => redacted_by_content(&self),
        };
        let ids = |list: &[EventReference]| list.iter().map(|reference| reference.event_id.clone()).collect();
        let pdu = Pdu::from_parts(Parts {
            version: self.version,
            event_id,
            room_id,
            sender: self.sender.to_owned(),
            event_type: self.event_type.into(),
            state_key: self.state_key.map(Into::into),
            origin_server_ts: fragments.origin_server_ts,
            depth: fragments.depth,
            prev_events: ids(self.prev_events),
            auth_events: ids(self.auth_events),
            redacts: redacted_event,
            content: CanonicalObject::from_canonical(client_json.slice(CONTENT_OFFSET..content_end)),
            client_json: client_json.clone(),
            federation_json: federation_json.clone(),
            parsed: OnceLock::new(),
        });
        BuiltEvent { pdu, client_json, federation_json }
    }

    fn client_json(&self, event_id: &EventId, fragments: &Fragments) -> Bytes {
        let quoted = |text: &str| {
            let mut out = Vec::with_capacity(text.len() + 2);
            push_string(&mut out, text);
            out
        };
        let event_type = quoted(self.event_type);
        let top_level_redacts = self.redacts.map(|redacts| quoted(redacts.as_str()));
        let redacts = if self.version.redacts_in_content() {
            redacts_of_content(&event_type, self.content.as_bytes())
        } else {
            top_level_redacts.as_deref()
        };
        let state_key = self.state_key.map(quoted);
        let origin_server_ts = fragments.origin_server_ts.to_string();
        let parts = ClientParts {
            content: self.content.as_bytes(),
            event_id: event_id.as_str(),
            origin_server_ts: origin_server_ts.as_bytes(),
            redacts,
            sender: &quoted(self.sender.as_str()),
            state_key: state_key.as_deref(),
            event_type: &event_type,
        };
        parts.write().into()
    }
}

/// The event that the content names where the caller wrote `content.redacts` itself.
fn redacted_by_content(builder: &EventBuilder<'_>) -> Option<OwnedEventId> {
    if !builder.version.redacts_in_content() || builder.event_type != "m.room.redaction" {
        return None;
    }
    builder.content.string("redacts").and_then(|id| EventId::parse(id).ok())
}

/// Writes `prev_events` or `auth_events`: pairs of ID and hash in versions 1 and 2, plain IDs since version 3. Other servers may propose
/// events without the hashes, which nobody looks at.
fn references_json(version: RoomVersion, references: &[EventReference]) -> Vec<u8> {
    let in_pairs = version.rules().events_reference_format == EventsReferenceFormatVersion::V1;
    let mut out = Vec::with_capacity(2 + references.len() * 128);
    out.push(b'[');
    for (index, reference) in references.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if in_pairs {
            out.push(b'[');
            push_string(&mut out, reference.event_id.as_str());
            out.push(b',');
            let mut hashes = ObjectWriter::begin(&mut out);
            if let Some(sha256) = &reference.sha256 {
                hashes.string("sha256", sha256);
            }
            hashes.end();
            out.push(b']');
        } else {
            push_string(&mut out, reference.event_id.as_str());
        }
    }
    out.push(b']');
    out
}

fn signatures_json(server_name: &ServerName, key_pair: &Ed25519KeyPair, message: &[u8]) -> String {
    let signature = STANDARD_NO_PAD.encode(key_pair.sign(message).as_bytes());
    // Neither server names nor key versions hold characters that JSON escapes.
    format!(r#"{{"{server_name}":{{"ed25519:{}":"{signature}"}}}}"#, key_pair.version())
}

/// Checks the size of the whole PDU, which differs from the unhashed text by the two members added since.
fn check_size(unhashed: &[u8], hashes: &str, signatures: &str) -> Result<(), EventError> {
    let added = r#""hashes":,"signatures":,"#.len() + hashes.len() + signatures.len();
    let (size, limit) = (unhashed.len() + added, MAX_EVENT_BYTES);
    if size > limit { Err(EventError::TooLarge { what: "event", size, limit }) } else { Ok(()) }
}

fn federation_json(fragments: &Fragments, hashes: &str, signatures: &str) -> Vec<u8> {
    let lists = fragments.auth_events.len() + fragments.prev_events.len();
    let mut out = Vec::with_capacity(lists + hashes.len() + signatures.len() + 96);
    let mut writer = ObjectWriter::begin(&mut out);
    writer.json("auth_events", &fragments.auth_events);
    writer.integer("depth", fragments.depth);
    writer.json("hashes", hashes.as_bytes());
    writer.json("prev_events", &fragments.prev_events);
    writer.json("signatures", signatures.as_bytes());
    writer.end();
    out
}
