//! The split of a PDU into the text that clients see and the rest, and its inverse.

use bytes::Bytes;
use ruma::RoomId;
use smallvec::SmallVec;

use crate::{
    CanonicalObject, Members, RoomVersion,
    canonical::{ObjectWriter, compare_keys, member, push_string, string_value},
};

/// An event as it is stored: two canonical JSON objects that together are the PDU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJson {
    /// `content`, `event_id`, `origin_server_ts`, `redacts`, `sender`, `state_key` and `type`, as clients see them.
    pub client_json: Bytes,
    /// Every other top-level key of the PDU but `room_id`.
    pub federation_json: Bytes,
}

/// The values of `client_json`, each as canonical JSON.
pub(super) struct ClientParts<'a> {
    pub(super) content: &'a [u8],
    pub(super) event_id: &'a str,
    pub(super) origin_server_ts: &'a [u8],
    pub(super) redacts: Option<&'a [u8]>,
    pub(super) sender: &'a [u8],
    pub(super) state_key: Option<&'a [u8]>,
    pub(super) event_type: &'a [u8],
}

/// Where `content` begins in every `client_json` that [`ClientParts::write`] makes.
pub(super) const CONTENT_OFFSET: usize = br#"{"content":"#.len();

impl ClientParts<'_> {
    pub(super) fn write(&self) -> Vec<u8> {
        let state_key_length = self.state_key.map_or(0, <[u8]>::len);
        let mut out = Vec::with_capacity(self.content.len() + self.event_id.len() + state_key_length + 512);
        let mut writer = ObjectWriter::begin(&mut out);
        writer.json("content", self.content);
        writer.string("event_id", self.event_id);
        writer.json("origin_server_ts", self.origin_server_ts);
        if let Some(redacts) = self.redacts {
            writer.json("redacts", redacts);
        }
        writer.json("sender", self.sender);
        if let Some(state_key) = self.state_key {
            writer.json("state_key", state_key);
        }
        writer.json("type", self.event_type);
        writer.end();
        out
    }
}

/// The `redacts` that clients see at the top level although the PDU has it in its content only, since
/// [version 11](https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property).
pub(super) fn redacts_of_content<'a>(event_type: &[u8], content: &'a [u8]) -> Option<&'a [u8]> {
    (event_type == br#""m.room.redaction""#)
        .then(|| member(content, "redacts"))
        .flatten()
        .filter(|value| value.starts_with(b"\""))
}

/// Splits a PDU into its two stored texts.
///
/// Keys that the PDU lacks although every event needs them are written as `null`; [`Pdu::parse`](crate::Pdu::parse)
/// refuses such a PDU.
pub fn split(version: RoomVersion, pdu: &CanonicalObject, event_id: &str) -> StoredJson {
    const NULL: &[u8] = b"null";
    let (mut content, mut event_type, mut sender, mut origin_server_ts) = (NULL, NULL, NULL, NULL);
    let (mut state_key, mut redacts) = (None, None);
    let mut federation_json = Vec::with_capacity(pdu.as_bytes().len());
    let mut rest = ObjectWriter::begin(&mut federation_json);
    for (key, value) in pdu.members() {
        match key {
            b"content" => content = value,
            b"origin_server_ts" => origin_server_ts = value,
            b"sender" => sender = value,
            b"type" => event_type = value,
            b"state_key" => state_key = Some(value),
            b"redacts" if !version.redacts_in_content() => redacts = Some(value),
            b"event_id" if version.event_id_in_pdu() => {}
            b"room_id" => {}
            _ => rest.raw_key(key).extend_from_slice(value),
        }
    }
    rest.end();
    if version.redacts_in_content() {
        redacts = redacts_of_content(event_type, content);
    }
    let parts = ClientParts { content, event_id, origin_server_ts, redacts, sender, state_key, event_type };
    StoredJson { client_json: parts.write().into(), federation_json: federation_json.into() }
}

/// The whole PDU as canonical JSON: the inverse of [`split`].
pub fn join(client_json: &[u8], federation_json: &[u8], room_id: &RoomId, version: RoomVersion) -> Vec<u8> {
    let mut room_id_json = Vec::with_capacity(room_id.as_str().len() + 2);
    push_string(&mut room_id_json, room_id.as_str());
    let is_create = member(client_json, "type").and_then(string_value).is_some_and(|name| name == "m.room.create");
    let has_room_id = !(is_create && version.room_id_is_create_hash());

    let mut members: SmallVec<[(&[u8], &[u8]); 20]> = Members::new(client_json)
        .filter(|(key, _)| match *key {
            b"event_id" => version.event_id_in_pdu(),
            b"redacts" => !version.redacts_in_content(),
            _ => true,
        })
        .chain(Members::new(federation_json))
        .chain(has_room_id.then_some((b"room_id".as_slice(), room_id_json.as_slice())))
        .collect();
    members.sort_by(|(left, _), (right, _)| compare_keys(left, right));

    let mut out = Vec::with_capacity(client_json.len() + federation_json.len() + room_id_json.len() + 16);
    let mut writer = ObjectWriter::begin(&mut out);
    for (key, value) in members {
        writer.raw_key(key).extend_from_slice(value);
    }
    writer.end();
    out
}
