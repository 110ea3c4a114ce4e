//! Events at their limits, and beyond them.

use super::*;
use crate::{ErrorKind, MAX_EVENT_BYTES};

#[test]
fn an_event_may_fill_the_limit_and_not_exceed_it() {
    let room_id = RoomId::parse("!room:domain").unwrap();
    let build = |body: usize| {
        EventBuilder {
            version: RoomVersion::V11,
            room_id: Some(&room_id),
            event_id: None,
            sender: <&UserId>::try_from("@a:domain").unwrap(),
            event_type: "m.room.message",
            state_key: None,
            content: content(&json!({ "body": "x".repeat(body) })),
            redacts: None,
            prev_events: &[],
            auth_events: &[],
            depth: 1,
            origin_server_ts: 1,
        }
        .build(<&ServerName>::try_from(SERVER).unwrap(), &key_pair())
    };
    let spare = MAX_EVENT_BYTES - build(0).unwrap().pdu.to_json().len();
    assert_eq!(build(spare).unwrap().pdu.to_json().len(), MAX_EVENT_BYTES);
    let error = build(spare + 1).unwrap_err();
    assert_eq!(error, EventError::TooLarge { what: "event", size: MAX_EVENT_BYTES + 1, limit: MAX_EVENT_BYTES });
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn identifiers_and_lists_are_bounded() {
    let build = |event_type: &str, state_key: &str, references: usize| {
        let references = vec![EventReference::from(EventId::parse("$e:domain").unwrap()); references];
        EventBuilder {
            version: RoomVersion::V11,
            room_id: Some(<&RoomId>::try_from("!room:domain").unwrap()),
            event_id: None,
            sender: <&UserId>::try_from("@a:domain").unwrap(),
            event_type,
            state_key: Some(state_key),
            content: CanonicalObject::empty(),
            redacts: None,
            prev_events: &references,
            auth_events: &[],
            depth: i64::MAX,
            origin_server_ts: -1,
        }
        .build(<&ServerName>::try_from(SERVER).unwrap(), &key_pair())
    };
    let (fits, long) = ("é".repeat(127), "é".repeat(128));
    let built = build(&fits, &fits, 20).unwrap();
    assert_eq!((built.pdu.depth(), built.pdu.origin_server_ts()), (crate::MAX_CANONICAL_INTEGER, 0));
    assert_eq!(build(&long, "", 0).unwrap_err(), EventError::TooLarge { what: "type", size: 256, limit: 255 });
    assert_eq!(build("t", &long, 0).unwrap_err(), EventError::TooLarge { what: "state_key", size: 256, limit: 255 });
    assert_eq!(build("t", "", 21).unwrap_err(), EventError::TooMany { what: "prev_events", count: 21, limit: 20 });
}

#[test]
fn a_pdu_without_a_needed_key_is_refused_by_its_name() {
    let good: Value =
        serde_json::from_slice(&sample(RoomVersion::V11, "m.room.message", None, json!({})).build().pdu.to_json())
            .unwrap();
    for key in ["auth_events", "content", "depth", "origin_server_ts", "prev_events", "room_id", "sender", "type"] {
        let mut pdu = good.clone();
        pdu.as_object_mut().unwrap().remove(key);
        let error = Pdu::parse(RoomVersion::V11, pdu.to_string().as_bytes()).unwrap_err();
        assert!(
            matches!(error, EventError::MissingKey { key: missing } if missing == key)
                || matches!(error, EventError::WrongType { key: wrong, .. } if wrong == key),
            "{key}: {error}"
        );
        pdu[key] = json!(true);
        assert!(Pdu::parse(RoomVersion::V11, pdu.to_string().as_bytes()).is_err(), "{key}");
    }
}
