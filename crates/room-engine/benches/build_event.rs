//! Making a message event: canonical JSON, content hash, signature, event ID, and the stored texts.
//!
//! The baseline does the same with ruma's own functions over a tree of values.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use room_engine::{CanonicalObject, EventBuilder, EventReference, Numbers, Pdu, RoomVersion};
use ruma::{
    EventId, RoomId, ServerName, UserId,
    canonical_json::CanonicalJsonObject,
    signatures::{Ed25519KeyPair, hash_and_sign_event, reference_hash},
};

const BODY: &[u8] = br#"{"msgtype":"m.text","body":"A message of ordinary length, as people send them all day.",
    "m.mentions":{"user_ids":["@bob:example.org"]},"format":"org.matrix.custom.html","formatted_body":"<b>A</b> message"}"#;
const VERSION: RoomVersion = RoomVersion::V12;

fn references(count: usize) -> Vec<EventReference> {
    (0..count)
        .filter_map(|index| EventId::parse(format!("$CD66HAED5npg6074c6pDtLKalHjVfYb2q4Q3LZgrW{index:02}")).ok())
        .map(EventReference::from)
        .collect()
}

fn build_event(criterion: &mut Criterion) {
    let document = Ed25519KeyPair::generate();
    let Ok(key_pair) = Ed25519KeyPair::from_der(&document, "a_key".to_owned()) else { return };
    let (Ok(server_name), Ok(sender), Ok(room_id)) = (
        ServerName::parse("example.org"),
        UserId::parse("@alice:example.org"),
        RoomId::parse("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"),
    ) else {
        return;
    };
    let (prev_events, auth_events) = (references(1), references(2));
    let build = || {
        let content = CanonicalObject::parse(black_box(BODY), Numbers::Strict)?;
        EventBuilder {
            version: VERSION,
            room_id: Some(&room_id),
            event_id: None,
            sender: &sender,
            event_type: "m.room.message",
            state_key: None,
            content,
            redacts: None,
            prev_events: &prev_events,
            auth_events: &auth_events,
            depth: 1234,
            origin_server_ts: 1_700_000_000_000,
        }
        .build(&server_name, &key_pair)
    };
    let Ok(built) = build() else { return };
    let json = built.pdu.to_json();

    let mut group = criterion.benchmark_group("event");
    group.bench_function("build and sign a message", |bencher| bencher.iter(build));
    let unsigned: Option<CanonicalJsonObject> = serde_json::from_slice(&json).ok();
    if let Some(unsigned) = unsigned {
        group.bench_function("baseline: hash, sign and name with ruma", |bencher| {
            bencher.iter(|| {
                let mut event = unsigned.clone();
                event.remove("hashes");
                event.remove("signatures");
                let signed =
                    hash_and_sign_event(server_name.as_str(), &key_pair, &mut event, &VERSION.rules().redaction);
                (signed, reference_hash(&event, VERSION.rules()), serde_json::to_vec(&event))
            });
        });
    }
    group.bench_function("canonicalise the content", |bencher| {
        bencher.iter(|| CanonicalObject::parse(black_box(BODY), Numbers::Strict));
    });
    group.bench_function("load a stored event", |bencher| {
        bencher.iter(|| {
            Pdu::from_stored(VERSION, room_id.clone(), built.client_json.clone(), built.federation_json.clone())
        });
    });
    group.bench_function("join the stored texts", |bencher| bencher.iter(|| built.pdu.to_json()));
    group.finish();
}

criterion_group!(benches, build_event);
criterion_main!(benches);
