//! Events: made, received, loaded, judged.

use std::hint::black_box;

use room_engine::auth::{AuthState, check};
use room_engine::receipt::ReceivedPdu;
use room_engine::{CanonicalObject, EventBuilder, EventReference, Numbers, Pdu, RoomVersion};
use ruma::signatures::Ed25519KeyPair;
use ruma::{EventId, OwnedRoomId, OwnedUserId, RoomId, owned_room_id, owned_user_id, server_name};

const VERSION: RoomVersion = RoomVersion::V11;
const CONTENT: &str = r#"{"msgtype":"m.text","body":"A message of ordinary length, as people send them all day.",
    "m.mentions":{"user_ids":["@bob:example.org"]},"format":"org.matrix.custom.html","formatted_body":"<b>A</b> message"}"#;

/// PKCS#8 of an Ed25519 key (RFC 8410): the same in every run, and nobody's.
const KEY_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

struct Server {
    key_pair: Ed25519KeyPair,
    room_id: OwnedRoomId,
    alice: OwnedUserId,
    bob: OwnedUserId,
    references: Vec<EventReference>,
}

impl Server {
    fn new() -> Self {
        let mut key = KEY_PREFIX.to_vec();
        key.extend([7; 32]);
        let named = |letter: &str| EventReference::from(EventId::parse(format!("${}", letter.repeat(43))).unwrap());
        Self {
            key_pair: Ed25519KeyPair::from_der(&key, "a_key".to_owned()).unwrap(),
            room_id: owned_room_id!("!room:example.org"),
            alice: owned_user_id!("@alice:example.org"),
            bob: owned_user_id!("@bob:example.org"),
            references: ["a", "b", "c"].map(named).into(),
        }
    }

    fn event(&self, sender: &OwnedUserId, event_type: &str, state_key: Option<&str>, content: &str) -> Pdu {
        let is_create = event_type == "m.room.create";
        let room_id: &RoomId = &self.room_id;
        let builder = EventBuilder {
            version: VERSION,
            room_id: Some(room_id),
            event_id: None,
            sender,
            event_type,
            state_key,
            content: CanonicalObject::parse(content.as_bytes(), Numbers::Strict).unwrap(),
            redacts: None,
            prev_events: if is_create { &[] } else { self.references.get(..1).unwrap() },
            auth_events: if is_create { &[] } else { &self.references },
            depth: 1234,
            origin_server_ts: 1_700_000_000_000,
        };
        builder.build(server_name!("example.org"), &self.key_pair).unwrap().pdu
    }

    fn message(&self) -> Pdu {
        self.event(&self.alice, "m.room.message", None, CONTENT)
    }

    /// What decides about events of a public room.
    fn state(&self) -> AuthState {
        let levels = r#"{"events":{"m.room.name":50},"users":{"@alice:example.org":100},"users_default":0}"#;
        AuthState::from_iter([
            self.event(&self.alice, "m.room.create", Some(""), "{}"),
            self.event(&self.alice, "m.room.power_levels", Some(""), levels),
            self.event(&self.alice, "m.room.member", Some("@alice:example.org"), r#"{"membership":"join"}"#),
            self.event(&self.alice, "m.room.join_rules", Some(""), r#"{"join_rule":"public"}"#),
        ])
    }
}

pub(super) fn build() -> Box<dyn FnMut()> {
    let server = Server::new();
    Box::new(move || drop(black_box(server.message())))
}

pub(super) fn canonical() -> Box<dyn FnMut()> {
    Box::new(|| drop(black_box(CanonicalObject::parse(black_box(CONTENT.as_bytes()), Numbers::Strict).unwrap())))
}

pub(super) fn parse_received() -> Box<dyn FnMut()> {
    let json = Server::new().message().to_json();
    Box::new(move || drop(black_box(ReceivedPdu::parse(VERSION, None, black_box(&json)).unwrap())))
}

pub(super) fn load_stored() -> Box<dyn FnMut()> {
    let server = Server::new();
    let content = CanonicalObject::parse(CONTENT.as_bytes(), Numbers::Strict).unwrap();
    let builder = EventBuilder {
        version: VERSION,
        room_id: Some(&server.room_id),
        event_id: None,
        sender: &server.alice,
        event_type: "m.room.message",
        state_key: None,
        content,
        redacts: None,
        prev_events: server.references.get(..1).unwrap(),
        auth_events: &server.references,
        depth: 1234,
        origin_server_ts: 1_700_000_000_000,
    };
    let built = builder.build(server_name!("example.org"), &server.key_pair).unwrap();
    Box::new(move || {
        let (client, federation) = (built.client_json.clone(), built.federation_json.clone());
        drop(black_box(Pdu::from_stored(VERSION, server.room_id.clone(), client, federation)));
    })
}

pub(super) fn check_message() -> Box<dyn FnMut()> {
    let server = Server::new();
    let (state, message) = (server.state(), server.message());
    check(&message, &state).unwrap();
    Box::new(move || drop(black_box(check(black_box(&message), &state))))
}

pub(super) fn check_join() -> Box<dyn FnMut()> {
    let server = Server::new();
    let content = r#"{"displayname":"Bob","membership":"join"}"#;
    let (state, join) = (server.state(), server.event(&server.bob, "m.room.member", Some("@bob:example.org"), content));
    check(&join, &state).unwrap();
    Box::new(move || drop(black_box(check(black_box(&join), &state))))
}
