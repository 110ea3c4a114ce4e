//! Buffers whose size is known before they are filled, beside ones that grow.

use std::hint::black_box;

use allocation_counter::measure;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use homeserver_core::{EventSn, RoomSn, TimelineOrder, Timestamp, TypeSn, UserSn};
use rooms::wire::{ADDED_BYTES, Reader, write_event, write_list};
use storage::{Membership, StoredEvent};

/// A timeline, the state and the members of a room on first sight.
const EVENTS: i64 = 100;
const READER: Reader<'static> =
    Reader { room_id: None, now: Timestamp(1_700_000_123_456), device_sn: None, bundles: None };

fn event(number: i64) -> StoredEvent {
    let client_json = format!(
        r#"{{"content":{{"displayname":"Somebody {number}","membership":"join"}},"event_id":"$k2lqT3ZvVq0Q9eGmJ2B3uX1x0s4pS8uG7a6Yw5d4c3E","origin_server_ts":1700000000000,"sender":"@user{number}:example.org","state_key":"@user{number}:example.org","type":"m.room.member"}}"#
    );
    StoredEvent {
        sn: EventSn(number),
        order: TimelineOrder::of(EventSn(number)),
        follows_gap: false,
        event_id: "$k2lqT3ZvVq0Q9eGmJ2B3uX1x0s4pS8uG7a6Yw5d4c3E".into(),
        room_sn: RoomSn(7),
        type_sn: TypeSn(4),
        state_key_sn: None,
        sender_sn: UserSn(3),
        origin_server_ts: Timestamp(1_700_000_000_000),
        depth: number,
        countable_total: number,
        client_json: Bytes::from(client_json),
        replaces_sn: None,
        previous_sn: None,
        sender_erased_at: None,
        unsigned_erased_at: None,
        replaced_json: None,
        redacted_because: None,
        transaction: None,
        membership: None,
        redacts: None,
        unread: None,
    }
}

fn written(mut out: Vec<u8>, events: &[StoredEvent]) -> Vec<u8> {
    write_list(&mut out, events, |out, event| write_event(out, event, &READER, Some(Membership::Join)));
    out
}

fn size(events: &[StoredEvent]) -> usize {
    events.iter().map(|event| event.client_json.len() + ADDED_BYTES).sum()
}

/// What a thousand lists of 1 to 24 numbers take, such as the members whom an event notifies, with what holds them.
fn kept_by<T>(make: impl Fn(std::ops::Range<i64>) -> T) -> u64 {
    const LISTS: usize = 1_000;
    let mut lists = Vec::with_capacity(LISTS);
    let lengths = (1..=24).cycle().take(LISTS);
    let taken = measure(|| lists.extend(lengths.map(|length| make(0..length))));
    drop(black_box(lists));
    u64::try_from(taken.bytes_current).unwrap_or_default() + (LISTS * size_of::<T>()) as u64
}

fn one_by_one(numbers: std::ops::Range<i64>) -> Vec<i64> {
    let mut list = Vec::new();
    for number in numbers {
        list.push(black_box(number));
    }
    list
}

fn reserved(criterion: &mut Criterion) {
    let events: Vec<StoredEvent> = (1..=EVENTS).map(event).collect();
    let finished = written(Vec::new(), &events);
    let copy = |mut out: Vec<u8>| {
        black_box(&finished).chunks(64).for_each(|piece| out.extend_from_slice(piece));
        out
    };
    let sized = measure(|| drop(black_box(written(Vec::with_capacity(size(&events)), &events))));
    let by_event = measure(|| drop(black_box(written(Vec::new(), &events))));
    println!("counted: a list of {EVENTS} events: {} against {} allocations", sized.count_total, by_event.count_total);
    println!(
        "counted: a list of {EVENTS} events, bytes: {} against {} bytes allocated",
        sized.bytes_total, by_event.bytes_total
    );

    let [kept, grown] = [kept_by(|list| list.collect::<Box<[i64]>>()), kept_by(one_by_one)];
    println!("counted: lists that no longer grow: {kept} against {grown} bytes kept");

    let mut group = criterion.benchmark_group("a list of 100 events");
    group.bench_function("buffer sized", |bencher| {
        bencher.iter(|| written(Vec::with_capacity(size(black_box(&events))), &events));
    });
    group.bench_function("room for each event", |bencher| bencher.iter(|| written(Vec::new(), black_box(&events))));
    group.finish();

    let mut group = criterion.benchmark_group("copying 40 KiB in pieces");
    group.bench_function("buffer sized", |bencher| bencher.iter(|| copy(Vec::with_capacity(finished.len()))));
    group.bench_function("baseline: buffer that grows", |bencher| bencher.iter(|| copy(Vec::new())));
    group.finish();
}

criterion_group!(benches, reserved);
criterion_main!(benches);
