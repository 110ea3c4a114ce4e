//! What `/sync` does for each event, filter and token.

use std::hint::black_box;

use accounts::filters;
use bytes::Bytes;
use event_log::tokens::{parse_token, sync_token};
use homeserver_core::{DeviceSn, EventSn, Position, RoomSn, TimelineOrder, Timestamp, TypeSn, UserSn};
use rooms::wire::{Reader, write_event, write_list};
use storage::{Membership, StoredEvent};

const EVENTS: i64 = 20;
/// As clients send it when they sync lazily.
const FILTER: &str = r#"{"event_format":"client","presence":{"not_types":["*"]},"room":{"state":{"lazy_load_members":true},
    "timeline":{"limit":20,"types":["m.room.*","m.reaction"],"not_senders":["@spam:example.org"]}}}"#;

fn event(number: i64) -> StoredEvent {
    let client_json = format!(
        r#"{{"content":{{"body":"Message {number}: shall we meet at half past four?","msgtype":"m.text"}},"event_id":"$k2lqT3ZvVq0Q9eGmJ2B3uX1x0s4pS8uG7a6Yw5d4c3E","origin_server_ts":1700000000000,"sender":"@alice:example.org","type":"m.room.message"}}"#
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
        transaction: Some((DeviceSn(5), "m1700000000000.12".into())),
        membership: None,
        redacts: None,
        unread: None,
    }
}

pub(super) fn answer() -> Box<dyn FnMut()> {
    let events: Vec<StoredEvent> = (1..=EVENTS).map(event).collect();
    let reader =
        Reader { room_id: None, now: Timestamp(1_700_000_123_456), device_sn: Some(DeviceSn(5)), bundles: None };
    Box::new(move || {
        let mut out = Vec::new();
        write_list(&mut out, black_box(&events), |out, event| write_event(out, event, &reader, Some(Membership::Join)));
        drop(black_box(out));
    })
}

pub(super) fn parse_filter() -> Box<dyn FnMut()> {
    Box::new(|| drop(black_box(filters::parse(black_box(FILTER)).unwrap())))
}

pub(super) fn filter_events() -> Box<dyn FnMut()> {
    let filter = filters::parse(FILTER).unwrap();
    let events: Vec<StoredEvent> = (1..=EVENTS).map(event).collect();
    Box::new(move || {
        let timeline = &filter.room.0.timeline.0;
        let kept = black_box(&events).iter().filter(|event| timeline.includes_event(&event.client_json)).count();
        assert_eq!(kept, events.len());
    })
}

pub(super) fn token() -> Box<dyn FnMut()> {
    let mut position = 1_000_000;
    Box::new(move || {
        position += 1;
        assert_eq!(parse_token(&black_box(sync_token(Position(position)))), Some(Position(position)));
    })
}
