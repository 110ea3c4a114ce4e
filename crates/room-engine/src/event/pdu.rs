//! An event as the rules see it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use homeserver_core::{HeapSize, allocation_bytes};
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{
    fields::{identifier, integer, limited_string, parse_id, references, required, room_id_of_create},
    hash::content_hash,
    reference_hash, split,
    stored::join,
};
use crate::{
    CanonicalObject, CreateContent, EventError, MAX_AUTH_EVENTS, MAX_PREV_EVENTS, MemberContent, Members, Membership,
    ParseLimits, PowerLevelsContent, RoomVersion,
    auth::AuthError,
    canonical::{ObjectWriter, member, string_value},
    content::{ParsedContent, decode_base64},
    redact::{redact, redact_federation_json},
};

/// A persistent data unit: one parsed event. Cloning is cheap.
///
/// See the [event format](https://spec.matrix.org/v1.19/server-server-api/#pdus).
#[derive(Debug, Clone)]
pub struct Pdu(Arc<Parts>);

impl HeapSize for Pdu {
    fn heap_bytes(&self) -> usize {
        const REFERENCE_COUNTS_BYTES: usize = 2 * size_of::<usize>();
        /// What is counted beside the bytes that several share.
        const SHARED_BYTES: usize = 32;
        let parts = &*self.0;
        let ids = [parts.event_id.as_str(), parts.room_id.as_str(), parts.sender.as_str(), &parts.event_type];
        let more = [parts.state_key.as_deref(), parts.redacts.as_deref().map(EventId::as_str)];
        let texts = ids.into_iter().chain(more.into_iter().flatten()).map(|text| allocation_bytes(text.len()));
        let of_list = |events: &[OwnedEventId]| {
            let ids = events.iter().map(|id| allocation_bytes(id.as_str().len())).sum::<usize>();
            allocation_bytes(size_of_val(events)) + ids
        };
        let json = [&parts.client_json, &parts.federation_json].map(|json| allocation_bytes(json.len()) + SHARED_BYTES);
        allocation_bytes(size_of::<Parts>() + REFERENCE_COUNTS_BYTES)
            + texts.sum::<usize>()
            + of_list(&parts.prev_events)
            + of_list(&parts.auth_events)
            + json.iter().sum::<usize>()
            // The content is a part of the client's JSON, but it may be kept parsed too.
            + parts.content.as_bytes().len()
    }
}

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) version: RoomVersion,
    pub(super) event_id: OwnedEventId,
    pub(super) room_id: OwnedRoomId,
    pub(super) sender: OwnedUserId,
    pub(super) event_type: Box<str>,
    pub(super) state_key: Option<Box<str>>,
    pub(super) origin_server_ts: i64,
    pub(super) depth: i64,
    pub(super) prev_events: Box<[OwnedEventId]>,
    pub(super) auth_events: Box<[OwnedEventId]>,
    pub(super) redacts: Option<OwnedEventId>,
    pub(super) content: CanonicalObject,
    pub(super) client_json: Bytes,
    pub(super) federation_json: Bytes,
    pub(super) parsed: OnceLock<ParsedContent>,
}

/// An event named by another one in `prev_events` or `auth_events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventReference {
    /// The event.
    pub event_id: OwnedEventId,
    /// Its reference hash, which room versions 1 and 2 write beside the ID.
    pub sha256: Option<Box<str>>,
}

impl From<OwnedEventId> for EventReference {
    fn from(event_id: OwnedEventId) -> Self {
        Self { event_id, sha256: None }
    }
}

impl Pdu {
    pub(super) fn from_parts(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Reads a PDU as it comes over federation, and works out its event ID where the version derives it.
    ///
    /// Neither the content hash nor the signatures are checked.
    ///
    /// # Errors
    /// When the JSON is not canonical for the version, a key is missing or of the wrong form, or a limit is passed.
    pub fn parse(version: RoomVersion, json: &[u8]) -> Result<Self, EventError> {
        let pdu = CanonicalObject::parse_within(json, ParseLimits::event(version.numbers()))?;
        let event_id: OwnedEventId = if version.event_id_in_pdu() {
            identifier(pdu.as_bytes(), "event_id", "an event ID")?
        } else {
            parse_id(&format!("${}", reference_hash(version, pdu.as_bytes())), "event_id", "an event ID")?
        };
        let is_create = pdu.string("type").is_some_and(|name| name == "m.room.create");
        let room_id: OwnedRoomId = if is_create && version.room_id_is_create_hash() {
            if pdu.value("room_id").is_some() {
                return Err(EventError::ForbiddenKey { key: "room_id" });
            }
            room_id_of_create(&event_id)?
        } else {
            identifier(pdu.as_bytes(), "room_id", "a room ID")?
        };
        required(pdu.as_bytes(), "content")?;
        let stored = split(version, &pdu, event_id.as_str());
        Self::from_stored(version, room_id, stored.client_json, stored.federation_json)
    }

    /// Takes an event as it was stored. The texts must come from a [`BuiltEvent`](super::BuiltEvent) or [`split`].
    ///
    /// # Errors
    /// When a key is missing or of the wrong form, or an identifier or a list is too long.
    pub fn from_stored(
        version: RoomVersion,
        room_id: OwnedRoomId,
        client_json: Bytes,
        federation_json: Bytes,
    ) -> Result<Self, EventError> {
        let content = required(&client_json, "content")?;
        if content.first() != Some(&b'{') {
            return Err(EventError::NotAnObject { key: "content" });
        }
        let content = CanonicalObject::from_canonical(client_json.slice_ref(content));
        let state_key = match member(&client_json, "state_key") {
            Some(value) => Some(limited_string(value, "state_key")?.into()),
            None => None,
        };
        Ok(Self::from_parts(Parts {
            version,
            event_id: identifier(&client_json, "event_id", "an event ID")?,
            room_id,
            sender: identifier(&client_json, "sender", "a user ID")?,
            event_type: limited_string(required(&client_json, "type")?, "type")?.into(),
            state_key,
            origin_server_ts: integer(&client_json, "origin_server_ts")?,
            depth: integer(&federation_json, "depth")?,
            prev_events: references(version, &federation_json, "prev_events", MAX_PREV_EVENTS)?,
            auth_events: references(version, &federation_json, "auth_events", MAX_AUTH_EVENTS)?,
            redacts: member(&client_json, "redacts").and_then(string_value).and_then(|id| EventId::parse(id).ok()),
            content,
            client_json,
            federation_json,
            parsed: OnceLock::new(),
        }))
    }

    /// The version of the room.
    pub fn version(&self) -> RoomVersion {
        self.0.version
    }

    /// The event's ID.
    pub fn event_id(&self) -> &EventId {
        &self.0.event_id
    }

    /// The room. Since version 12 a create event has no `room_id` of its own; this is the one derived from its ID.
    pub fn room_id(&self) -> &RoomId {
        &self.0.room_id
    }

    /// Who sent the event.
    pub fn sender(&self) -> &UserId {
        &self.0.sender
    }

    /// The `type`.
    pub fn event_type(&self) -> &str {
        &self.0.event_type
    }

    /// The `state_key`, which state events alone have.
    pub fn state_key(&self) -> Option<&str> {
        self.0.state_key.as_deref()
    }

    /// Whether the event has the given type and state key.
    pub fn is_state(&self, event_type: &str, state_key: &str) -> bool {
        self.event_type() == event_type && self.state_key() == Some(state_key)
    }

    /// The content, as canonical JSON.
    pub fn content(&self) -> &CanonicalObject {
        &self.0.content
    }

    /// Milliseconds since the Unix epoch, as the sender's server claims.
    pub fn origin_server_ts(&self) -> i64 {
        self.0.origin_server_ts
    }

    /// One more than the greatest depth of the previous events.
    pub fn depth(&self) -> i64 {
        self.0.depth
    }

    /// The events that this one follows.
    pub fn prev_events(&self) -> &[OwnedEventId] {
        &self.0.prev_events
    }

    /// The events that permit this one.
    pub fn auth_events(&self) -> &[OwnedEventId] {
        &self.0.auth_events
    }

    /// The event that this one redacts, wherever the version keeps it.
    pub fn redacts(&self) -> Option<&EventId> {
        self.0.redacts.as_deref()
    }

    /// `hashes`, as canonical JSON.
    pub fn hashes(&self) -> Option<&[u8]> {
        member(&self.0.federation_json, "hashes")
    }

    /// `signatures`, as canonical JSON.
    pub fn signatures(&self) -> Option<&[u8]> {
        member(&self.0.federation_json, "signatures")
    }

    /// `unsigned` as another server sent it, as canonical JSON.
    pub fn unsigned(&self) -> Option<&[u8]> {
        member(&self.0.federation_json, "unsigned")
    }

    /// What clients see, without `room_id` and `unsigned`.
    pub fn client_json(&self) -> &Bytes {
        &self.0.client_json
    }

    /// The other top-level keys of the PDU.
    pub fn federation_json(&self) -> &Bytes {
        &self.0.federation_json
    }

    /// The whole PDU as canonical JSON.
    pub fn to_json(&self) -> Vec<u8> {
        join(&self.0.client_json, &self.0.federation_json, &self.0.room_id, self.0.version)
    }

    /// Whether `hashes.sha256` is the hash of the event, in whichever Base64 it is written. Where it is not, only the
    /// redacted form counts; see
    /// [checks on receipt](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu).
    pub fn has_valid_content_hash(&self) -> bool {
        let claimed = self.hashes().and_then(|hashes| member(hashes, "sha256")).and_then(string_value);
        let claimed = claimed.and_then(|claimed| decode_base64(&claimed));
        claimed.is_some_and(|claimed| claimed == content_hash(&self.to_json()))
    }

    /// The event without `unsigned`, which neither its hash nor its signatures cover.
    pub(crate) fn without_unsigned(self) -> Result<Self, EventError> {
        if self.unsigned().is_none() {
            return Ok(self);
        }
        let federation_json = &self.0.federation_json;
        let mut rest = Vec::with_capacity(federation_json.len());
        let mut writer = ObjectWriter::begin(&mut rest);
        for (key, value) in Members::new(federation_json).filter(|(key, _)| *key != b"unsigned") {
            writer.raw_key(key).extend_from_slice(value);
        }
        writer.end();
        Self::from_stored(self.0.version, self.0.room_id.clone(), self.0.client_json.clone(), rest.into())
    }

    /// The event as `prev_events` and `auth_events` of others name it.
    pub fn reference(&self) -> EventReference {
        let sha256 = self.0.version.event_id_in_pdu().then(|| reference_hash(self.0.version, &self.to_json()).into());
        EventReference { event_id: self.0.event_id.clone(), sha256 }
    }

    /// What is left of the event after a redaction.
    ///
    /// # Errors
    /// Never for an event that was parsed; the redacted texts are read again as any other.
    pub fn redacted(&self) -> Result<Self, EventError> {
        Self::from_stored(
            self.0.version,
            self.0.room_id.clone(),
            redact(self.0.version, &self.0.client_json).into(),
            redact_federation_json(self.0.version, &self.0.federation_json).into(),
        )
    }

    /// The content of an `m.room.member` event, parsed once.
    ///
    /// # Errors
    /// When the event is of another type or its content does not have the form that the rules need.
    pub fn member(&self) -> Result<&MemberContent, AuthError> {
        self.parsed().member()
    }

    /// The `membership` of a member event; `None` when it is absent or unknown.
    pub fn membership(&self) -> Option<Membership> {
        self.member().ok().and_then(|content| content.membership)
    }

    /// The content of an `m.room.create` event, parsed once.
    ///
    /// # Errors
    /// When the event is of another type or its content does not have the form that the rules need.
    pub fn create(&self) -> Result<&CreateContent, AuthError> {
        self.parsed().create()
    }

    /// The content of an `m.room.power_levels` event, parsed once.
    ///
    /// # Errors
    /// When the event is of another type or its content does not have the form that the rules need.
    pub fn power_levels(&self) -> Result<&PowerLevelsContent, AuthError> {
        self.parsed().power_levels()
    }

    fn parsed(&self) -> &ParsedContent {
        self.0.parsed.get_or_init(|| ParsedContent::parse(self.0.version, &self.0.event_type, &self.0.content))
    }
}

impl PartialEq for Pdu {
    fn eq(&self, other: &Self) -> bool {
        self.0.event_id == other.0.event_id
            && self.0.room_id == other.0.room_id
            && self.0.client_json == other.0.client_json
            && self.0.federation_json == other.0.federation_json
    }
}

impl Eq for Pdu {}
