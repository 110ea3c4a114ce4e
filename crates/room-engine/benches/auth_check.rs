//! Deciding on a message and on a join with the state in memory.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use room_engine::{
    CanonicalObject, EventBuilder, EventError, EventReference, Numbers, Pdu, RoomVersion,
    auth::{AuthState, auth_types_for_event, check},
};
use ruma::{OwnedRoomId, ServerName, UserId, signatures::Ed25519KeyPair};

struct Room {
    version: RoomVersion,
    room_id: Option<OwnedRoomId>,
    key_pair: Ed25519KeyPair,
}

impl Room {
    fn event(&self, sender: &str, event_type: &str, state_key: Option<&str>, content: &str) -> Result<Pdu, EventError> {
        let wrong = |key| EventError::WrongType { key, expected: "valid" };
        let sender = UserId::parse(sender).map_err(|_| wrong("sender"))?;
        let server_name = ServerName::parse("example.org").map_err(|_| wrong("server"))?;
        let prev_events: Vec<EventReference> = Vec::new();
        let built = EventBuilder {
            version: self.version,
            room_id: self.room_id.as_deref(),
            event_id: None,
            sender: &sender,
            event_type,
            state_key,
            content: CanonicalObject::parse(content.as_bytes(), Numbers::Strict)?,
            redacts: None,
            prev_events: &prev_events,
            auth_events: &[],
            depth: 1,
            origin_server_ts: 1,
        }
        .build(&server_name, &self.key_pair)?;
        Ok(built.pdu)
    }
}

fn bench_version(criterion: &mut Criterion, version: RoomVersion) -> Result<(), EventError> {
    let document = Ed25519KeyPair::generate();
    let Ok(key_pair) = Ed25519KeyPair::from_der(&document, "a_key".to_owned()) else { return Ok(()) };
    let mut room = Room { version, room_id: None, key_pair };
    if version < RoomVersion::V12 {
        room.room_id = OwnedRoomId::try_from("!room:example.org").ok();
    }
    let (alice, bob) = ("@alice:example.org", "@bob:example.org");
    let create = room.event(alice, "m.room.create", Some(""), r#"{"creator":"@alice:example.org"}"#)?;
    room.room_id = Some(create.room_id().to_owned());
    let levels = r#"{"events":{"m.room.name":50},"users":{"@carol:example.org":50},"users_default":0}"#;
    let state = AuthState::from_iter([
        create,
        room.event(alice, "m.room.power_levels", Some(""), levels)?,
        room.event(alice, "m.room.member", Some(alice), r#"{"membership":"join"}"#)?,
        room.event(alice, "m.room.join_rules", Some(""), r#"{"join_rule":"public"}"#)?,
    ]);
    let message = room.event(alice, "m.room.message", None, r#"{"body":"hello","msgtype":"m.text"}"#)?;
    let join = room.event(bob, "m.room.member", Some(bob), r#"{"displayname":"Bob","membership":"join"}"#)?;

    let mut group = criterion.benchmark_group(format!("auth check, room version {version}"));
    group.throughput(Throughput::Elements(1));
    group.bench_function("message", |bencher| bencher.iter(|| check(&message, &state)));
    group.bench_function("join", |bencher| bencher.iter(|| check(&join, &state)));
    group.bench_function("selection of auth events", |bencher| {
        bencher
            .iter(|| auth_types_for_event(version, join.event_type(), join.sender(), join.state_key(), join.content()));
    });
    group.finish();
    Ok(())
}

fn auth_check(criterion: &mut Criterion) {
    for version in [RoomVersion::V10, RoomVersion::V12] {
        if let Err(error) = bench_version(criterion, version) {
            eprintln!("version {version}: {error}");
        }
    }
}

criterion_group!(benches, auth_check);
criterion_main!(benches);
