//! What is kept in memory of an event beside its text: numbers in a struct, beside a map of named values.

use std::collections::HashMap;
use std::hint::black_box;

use allocation_counter::measure;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use homeserver_core::{DeviceSn, EventSn, RoomSn, TimelineOrder, Timestamp, TypeSn, UserSn};
use serde_json::{Value, json};
use storage::StoredEvent;

const EVENTS: i64 = 10_000;
const EVENT_ID: &str = "$k2lqT3ZvVq0Q9eGmJ2B3uX1x0s4pS8uG7a6Yw5d4c3E";
/// The events of one room name it, their type and their sender again and again.
const ROOM_ID: &str = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";

/// One in ten was sent from here a moment ago, so its transaction ID is known.
fn transaction_id(number: i64) -> Option<String> {
    (number % 10 == 0).then(|| format!("m1700000000000.{number}"))
}

fn compact(number: i64) -> StoredEvent {
    StoredEvent {
        sn: EventSn(number),
        order: TimelineOrder::of(EventSn(number)),
        follows_gap: false,
        event_id: EVENT_ID.into(),
        room_sn: RoomSn(7),
        type_sn: TypeSn(4),
        state_key_sn: None,
        sender_sn: UserSn(3),
        origin_server_ts: Timestamp(1_700_000_000_000 + number),
        depth: number,
        countable_total: number,
        client_json: Bytes::new(),
        replaces_sn: None,
        previous_sn: None,
        sender_erased_at: None,
        unsigned_erased_at: None,
        replaced_json: None,
        redacted_because: None,
        transaction: transaction_id(number).map(|id| (DeviceSn(5), id.into())),
        membership: None,
        redacts: None,
        unread: None,
    }
}

/// What is known of the same event, and nothing else, by name.
fn map(number: i64) -> HashMap<&'static str, Value> {
    let mut map = HashMap::from([
        ("stream_ordering", json!(number)),
        ("event_id", json!(EVENT_ID)),
        ("room_id", json!(ROOM_ID)),
        ("type", json!("m.room.message")),
        ("sender", json!("@alice:example.org")),
        ("origin_server_ts", json!(1_700_000_000_000 + number)),
        ("depth", json!(number)),
        ("countable_total", json!(number)),
    ]);
    if let Some(id) = transaction_id(number) {
        map.insert("device_id", json!("ABCDEFGHIJ"));
        map.insert("transaction_id", json!(id));
    }
    map
}

/// The same without any text: as a map of numbers by the number of their name.
fn map_of_numbers(number: i64) -> HashMap<u8, i64> {
    HashMap::from([(0, number), (1, 7), (2, 4), (3, 3), (4, 1_700_000_000_000 + number), (5, number), (6, number)])
}

fn kept<T>(make: fn(i64) -> T) -> i64 {
    let mut all = Vec::new();
    let cost = measure(|| {
        all.reserve_exact(usize::try_from(EVENTS).unwrap_or_default());
        all.extend((0..EVENTS).map(make));
    });
    black_box(all);
    cost.bytes_current / EVENTS
}

fn metadata(criterion: &mut Criterion) {
    let (ours, theirs) = (kept(compact), kept(map));
    println!("counted: event metadata: {ours} against {theirs} bytes an event");
    println!("counted: event metadata, numbers only: {ours} against {} bytes an event", kept(map_of_numbers));

    let (event, values) = (compact(7), map(7));
    let mut group = criterion.benchmark_group("the sender and time of an event");
    group.bench_function("compact", |bencher| {
        bencher.iter(|| {
            let event = black_box(&event);
            (event.sender_sn, event.origin_server_ts)
        });
    });
    group.bench_function("baseline: map", |bencher| {
        bencher.iter(|| {
            let values = black_box(&values);
            (values.get("sender").and_then(Value::as_str), values.get("origin_server_ts").and_then(Value::as_i64))
        });
    });
    group.finish();
}

criterion_group!(benches, metadata);
criterion_main!(benches);
