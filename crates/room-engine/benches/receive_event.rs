//! Taking in a message of another server up to its signature, and the same with ruma's tree of canonical JSON.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use room_engine::{
    CanonicalObject, EventBuilder, EventReference, Numbers, RoomVersion,
    receipt::{Form, KeyRing, ReceivedPdu, VerifyKey},
};
use ruma::{
    EventId, RoomId, ServerName, UserId,
    canonical_json::CanonicalJsonObject,
    serde::Base64,
    signatures::{Ed25519KeyPair, PublicKeyMap, Verified, reference_hash, verify_event},
};

const NOW: i64 = 1_700_000_000_000;

/// A message with a body of that many bytes.
fn message(key_pair: &Ed25519KeyPair, body_bytes: usize) -> Option<Vec<u8>> {
    let content = format!(r#"{{"body":"{}","msgtype":"m.text"}}"#, "x".repeat(body_bytes));
    let named = |number: u8| EventId::parse(format!("${}", char::from(number).to_string().repeat(43))).ok();
    let references: Vec<EventReference> = (b'a'..b'd').filter_map(named).map(EventReference::from).collect();
    let built = EventBuilder {
        version: RoomVersion::V11,
        room_id: Some(<&RoomId>::try_from("!room:example.org").ok()?),
        event_id: None,
        sender: <&UserId>::try_from("@alice:example.org").ok()?,
        event_type: "m.room.message",
        state_key: None,
        content: CanonicalObject::parse(content.as_bytes(), Numbers::Strict).ok()?,
        redacts: None,
        prev_events: references.get(..1)?,
        auth_events: &references,
        depth: 12,
        origin_server_ts: NOW,
    }
    .build(<&ServerName>::try_from("example.org").ok()?, key_pair)
    .ok()?;
    Some(built.pdu.to_json())
}

fn bench_messages(criterion: &mut Criterion) -> Option<()> {
    let key_pair = Ed25519KeyPair::from_der(&Ed25519KeyPair::generate(), "a_key".to_owned()).ok()?;
    let public_key = Base64::<ruma::serde::base64::Standard>::new(key_pair.public_key().to_vec());
    let mut keys = KeyRing::new();
    let key = VerifyKey::current(&public_key.encode(), NOW + 1, NOW).ok()?;
    keys.insert(<&ServerName>::try_from("example.org").ok()?, "ed25519:a_key", key);
    let ruma_keys: PublicKeyMap =
        [("example.org".to_owned(), [("ed25519:a_key".to_owned(), public_key)].into())].into();
    let rules = RoomVersion::V11.rules();

    let mut group = criterion.benchmark_group("receive_event");
    for body_bytes in [100, 10_000] {
        let json = message(&key_pair, body_bytes)?;
        group.throughput(Throughput::Bytes(u64::try_from(json.len()).ok()?));
        group.bench_function(format!("parse/{body_bytes}"), |bencher| {
            bencher.iter(|| ReceivedPdu::parse(RoomVersion::V11, None, black_box(&json)));
        });
        group.bench_function(format!("parse_and_verify/{body_bytes}"), |bencher| {
            bencher.iter(|| {
                let received = ReceivedPdu::parse(RoomVersion::V11, None, black_box(&json)).ok()?;
                assert_eq!(received.form(), Form::Whole);
                received.verify(&keys).ok()
            });
        });
        group.bench_function(format!("parse_and_verify_with_ruma/{body_bytes}"), |bencher| {
            bencher.iter(|| {
                let object: CanonicalJsonObject = serde_json::from_slice(black_box(&json)).ok()?;
                assert_eq!(verify_event(&ruma_keys, &object, rules).ok()?, Verified::All);
                reference_hash(&object, rules).ok()
            });
        });
    }
    group.finish();
    Some(())
}

fn bench(criterion: &mut Criterion) {
    assert!(bench_messages(criterion).is_some(), "the event cannot be built");
}

criterion_group!(benches, bench);
criterion_main!(benches);
