//! Servers with keys, and rooms that they send events to.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{
    EventId, RoomId, ServerName, UserId,
    signatures::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    CanonicalObject, EventBuilder, Numbers, Pdu, RoomVersion,
    receipt::{KeyRing, ReceivedPdu, VerifyKey},
    redact::redact_for_signing,
};

pub(super) const CREATOR: &str = "@creator:one";
pub(super) const ALICE: &str = "@alice:one";
pub(super) const BOB: &str = "@bob:two";
pub(super) const SERVERS: [&str; 3] = ["one", "two", "three"];
pub(super) const KEY_ID: &str = "ed25519:k";

/// The time of all events.
pub(super) const NOW: i64 = 1_700_000_000_000;

pub(super) fn server(name: &str) -> &ServerName {
    name.try_into().unwrap()
}

/// Every server has a key of its own.
pub(super) fn key_pair(server: &str) -> Ed25519KeyPair {
    let mut document = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    document.extend_from_slice(&Sha256::digest(server));
    Ed25519KeyPair::from_der(&document, "k".into()).unwrap()
}

pub(super) fn public_key(server: &str) -> String {
    STANDARD_NO_PAD.encode(key_pair(server).public_key())
}

pub(super) fn current_key(server: &str) -> VerifyKey {
    VerifyKey::current(&public_key(server), NOW + 1, NOW).unwrap()
}

/// The keys of all servers.
pub(super) fn keys() -> KeyRing {
    let mut ring = KeyRing::new();
    for name in SERVERS {
        ring.insert(server(name), KEY_ID, current_key(name));
    }
    ring
}

pub(super) fn value(pdu: &Pdu) -> Value {
    serde_json::from_slice(&pdu.to_json()).unwrap()
}

/// The PDU with a signature of the server on what it says now.
pub(super) fn signed_by(version: RoomVersion, mut pdu: Value, server: &str) -> Value {
    let canonical = CanonicalObject::from_serialize(&pdu, Numbers::Lenient).unwrap();
    let signature = key_pair(server).sign(&redact_for_signing(version, canonical.as_bytes())).base64();
    pdu["signatures"][server][KEY_ID] = json!(signature);
    pdu
}

/// The PDU with the hash and the one signature of the server on what it says now.
pub(super) fn hashed_and_signed_by(version: RoomVersion, mut pdu: Value, server: &str) -> Value {
    for key in ["hashes", "signatures", "unsigned"] {
        pdu.as_object_mut().unwrap().remove(key);
    }
    let canonical = CanonicalObject::from_serialize(&pdu, Numbers::Lenient).unwrap();
    pdu["hashes"] = json!({ "sha256": STANDARD_NO_PAD.encode(Sha256::digest(canonical.as_bytes())) });
    pdu["signatures"] = json!({});
    signed_by(version, pdu, server)
}

pub(super) fn receive(version: RoomVersion, pdu: &Value) -> ReceivedPdu {
    ReceivedPdu::parse(version, None, pdu.to_string().as_bytes()).unwrap()
}

/// A room to send events to.
pub(super) struct World {
    pub(super) version: RoomVersion,
    pub(super) create: Pdu,
    pub(super) joined: Pdu,
    pub(super) levels: Pdu,
    pub(super) rules: Pdu,
    sent: std::cell::Cell<u32>,
}

impl World {
    /// A room of two users of the server `one`, with the given rule for others.
    pub(super) fn new(version: RoomVersion, join_rule: &str) -> Self {
        let mut content = json!({ "room_version": version.as_str() });
        if version < RoomVersion::V11 {
            content["creator"] = json!(CREATOR);
        }
        let room_id = RoomId::parse("!room:one").unwrap();
        let room_id = (version < RoomVersion::V12).then_some(&*room_id);
        let sent = std::cell::Cell::new(0);
        let create = build(&sent, version, room_id, CREATOR, "m.room.create", Some(""), &content, &[], &[]);
        let join = json!({ "membership": "join" });
        let named: &[&Pdu] = if version < RoomVersion::V12 { &[&create] } else { &[] };
        let member = |named: &[&Pdu], sender: &str| {
            build(
                &sent,
                version,
                Some(create.room_id()),
                sender,
                "m.room.member",
                Some(sender),
                &join,
                &[&create],
                named,
            )
        };
        let joined = member(named, CREATOR);
        let mut world = Self { version, levels: create.clone(), rules: create.clone(), create, joined, sent };
        let levels = json!({ "users": if version < RoomVersion::V12 { json!({ CREATOR: 100 }) } else { json!({}) } });
        world.levels = world.send(CREATOR, "m.room.power_levels", Some(""), &levels, &[]);
        let rules = json!({ "join_rule": join_rule });
        world.rules = world.send(CREATOR, "m.room.join_rules", Some(""), &rules, &[]);
        world
    }

    /// An event of the sender's server that names the create event, the power levels, the creator's membership where it
    /// is the creator's, and `permitting`.
    pub(super) fn send(
        &self,
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: &Value,
        permitting: &[&Pdu],
    ) -> Pdu {
        let mut named: Vec<&Pdu> = permitting.to_vec();
        if self.version < RoomVersion::V12 {
            named.push(&self.create);
        }
        if self.levels.event_type() == "m.room.power_levels" {
            named.push(&self.levels);
        }
        if sender == CREATOR {
            named.push(&self.joined);
        }
        let room_id = Some(self.create.room_id());
        build(&self.sent, self.version, room_id, sender, event_type, state_key, content, &[&self.joined], &named)
    }

    pub(super) fn join(&self, user: &str, content: &Value) -> Pdu {
        self.send(user, "m.room.member", Some(user), content, &[&self.rules])
    }

    pub(super) fn state(&self) -> Vec<Pdu> {
        vec![self.create.clone(), self.joined.clone(), self.levels.clone(), self.rules.clone()]
    }
}

#[expect(clippy::too_many_arguments, reason = "these are the parts of an event")]
fn build(
    sent: &std::cell::Cell<u32>,
    version: RoomVersion,
    room_id: Option<&RoomId>,
    sender: &str,
    event_type: &str,
    state_key: Option<&str>,
    content: &Value,
    prev_events: &[&Pdu],
    auth_events: &[&Pdu],
) -> Pdu {
    sent.set(sent.get() + 1);
    let references = |events: &[&Pdu]| events.iter().map(|event| event.reference()).collect::<Vec<_>>();
    let sender = <&UserId>::try_from(sender).unwrap();
    let event_id = EventId::parse(format!("${}:{}", sent.get(), sender.server_name())).unwrap();
    EventBuilder {
        version,
        room_id,
        event_id: Some(&event_id),
        sender,
        event_type,
        state_key,
        content: CanonicalObject::from_serialize(content, Numbers::Strict).unwrap(),
        redacts: None,
        prev_events: &references(prev_events),
        auth_events: &references(auth_events),
        depth: i64::from(sent.get()),
        origin_server_ts: NOW,
    }
    .build(sender.server_name(), &key_pair(sender.server_name().as_str()))
    .unwrap()
    .pdu
}
