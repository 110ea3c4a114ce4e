use ruma::RoomId;
use serde_json::{Value, json};

use super::world::{ALICE, CREATOR, World, hashed_and_signed_by, receive, value};
use crate::{
    EventError, MAX_CANONICAL_INTEGER, RoomVersion,
    receipt::{Dropped, Form, ReceivedPdu},
};

fn message(version: RoomVersion) -> Value {
    let world = World::new(version, "public");
    value(&world.send(CREATOR, "m.room.message", None, &json!({ "body": "b" }), &[]))
}

fn dropped(version: RoomVersion, pdu: &Value) -> Dropped {
    ReceivedPdu::parse(version, None, pdu.to_string().as_bytes()).unwrap_err()
}

#[test]
fn an_event_as_it_was_sent_is_kept_whole_but_for_what_nobody_vouches_for() {
    for version in RoomVersion::ALL {
        let sent = message(version);
        let mut carried = sent.clone();
        carried["unsigned"] = json!({ "age": 4, "redacted_because": {} });
        let received = receive(version, &carried);
        assert_eq!(received.form(), Form::Whole);
        assert_eq!(value(received.event()), sent);
    }
}

#[test]
fn of_an_event_whose_hash_does_not_fit_only_the_redacted_form_is_kept() {
    for version in RoomVersion::ALL {
        let mut changed = message(version);
        changed["content"]["body"] = json!("other");
        let received = receive(version, &changed);
        assert_eq!(received.form(), Form::Redacted);
        assert_eq!(received.event().content().as_bytes(), b"{}");
        for hash in ["", "not Base64!", "AAAA"] {
            let mut unhashed = message(version);
            unhashed["hashes"]["sha256"] = json!(hash);
            assert_eq!(receive(version, &unhashed).form(), Form::Redacted);
        }
    }
}

#[test]
fn a_hash_may_be_padded() {
    let mut padded = message(RoomVersion::V11);
    padded["hashes"]["sha256"] = json!(format!("{}=", padded["hashes"]["sha256"].as_str().unwrap()));
    assert_eq!(receive(RoomVersion::V11, &padded).form(), Form::Whole);
}

#[test]
fn an_event_without_hash_or_signatures_is_dropped() {
    for version in RoomVersion::ALL {
        for key in ["hashes", "signatures"] {
            let mut pdu = message(version);
            pdu.as_object_mut().unwrap().remove(key);
            assert_eq!(dropped(version, &pdu), Dropped::Malformed(EventError::MissingKey { key }));
            for wrong in [json!([]), json!("text"), Value::Null] {
                pdu[key] = wrong;
                assert!(matches!(dropped(version, &pdu), Dropped::Malformed(_)));
            }
        }
        let mut pdu = message(version);
        pdu["hashes"] = json!({ "sha256": 1 });
        assert!(matches!(dropped(version, &pdu), Dropped::Malformed(EventError::WrongType { key: "hashes", .. })));
    }
}

#[test]
fn an_event_for_another_room_is_dropped() {
    let (asked, pdu) = (RoomId::parse("!other:one").unwrap(), message(RoomVersion::V11));
    let error = ReceivedPdu::parse(RoomVersion::V11, Some(&asked), pdu.to_string().as_bytes()).unwrap_err();
    assert_eq!(error, Dropped::OtherRoom { room_id: RoomId::parse("!room:one").unwrap() });
}

#[test]
fn an_event_that_names_itself_is_dropped() {
    for key in ["prev_events", "auth_events"] {
        let mut pdu = message(RoomVersion::V1);
        pdu[key] = json!([[pdu["event_id"], { "sha256": "x" }]]);
        assert!(matches!(dropped(RoomVersion::V1, &pdu), Dropped::NamesItself { .. }));
    }
}

#[test]
fn an_event_id_of_the_first_versions_names_a_server() {
    for version in [RoomVersion::V1, RoomVersion::V2] {
        let mut pdu = message(version);
        pdu["event_id"] = json!("$without_server");
        assert!(matches!(dropped(version, &pdu), Dropped::Malformed(EventError::WrongType { key: "event_id", .. })));
    }
}

#[test]
fn a_create_event_makes_a_room_of_the_version_that_it_is_read_as() {
    for version in RoomVersion::ALL {
        let mut create = value(&World::new(version, "public").create);
        assert_eq!(receive(version, &create).form(), Form::Whole);
        create["content"]["room_version"] = json!("other");
        let create = hashed_and_signed_by(version, create, "one");
        assert_eq!(dropped(version, &create), Dropped::OtherVersion { version });
    }
}

#[test]
fn depth_ends_where_the_integers_of_the_version_end() {
    for version in RoomVersion::ALL {
        let of_depth = |depth: &str| {
            let pdu = message(version).to_string();
            let (before, after) = pdu.split_once("\"depth\":").unwrap();
            let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
            ReceivedPdu::parse(version, None, format!("{before}\"depth\":{depth}{rest}").as_bytes())
        };
        assert_eq!(of_depth(&version.max_depth().to_string()).unwrap().event().depth(), version.max_depth());
        assert!(of_depth(&(u64::try_from(version.max_depth()).unwrap() + 1).to_string()).is_err());
        for wrong in ["-1", "1.5", "\"1\"", "null", "99999999999999999999"] {
            assert!(of_depth(wrong).is_err(), "{version}: {wrong}");
        }
    }
    assert_eq!(RoomVersion::V5.max_depth(), i64::MAX);
    assert_eq!(RoomVersion::V6.max_depth(), MAX_CANONICAL_INTEGER);
}

#[test]
fn numbers_that_are_not_canonical_drop_the_event_since_version_6() {
    for version in RoomVersion::ALL {
        let mut pdu = message(version);
        pdu["content"]["n"] = json!(1.5);
        let parsed = ReceivedPdu::parse(version, None, pdu.to_string().as_bytes());
        assert_eq!(parsed.is_ok(), version < RoomVersion::V6);
    }
}

#[test]
fn long_identifiers_and_lists_drop_the_event() {
    let version = RoomVersion::V11;
    let long = "x".repeat(256);
    let references: Vec<_> = (0..21).map(|index| format!("${index}")).collect();
    for (key, wrong) in [
        ("sender", json!(format!("@{long}:one"))),
        ("sender", json!(ALICE.replace('@', "#"))),
        ("type", json!(long)),
        ("state_key", json!(long)),
        ("room_id", json!(format!("!{long}:one"))),
        ("prev_events", json!(references)),
        ("auth_events", json!(references[..11])),
        ("prev_events", json!([["$e:one", { "sha256": "x" }]])),
    ] {
        let mut pdu = message(version);
        pdu[key] = wrong;
        assert!(matches!(dropped(version, &pdu), Dropped::Malformed(_)), "{key}");
    }
}
