//! What redaction keeps, key by key, as the specification lists it and as ruma does it.

use ruma::canonical_json::{CanonicalJsonObject, redact as ruma_redact};
use serde_json::{Map, Value, json};

use crate::{CanonicalObject, Numbers, RoomVersion, redact_pdu};

const EVERY_VERSION: RoomVersion = RoomVersion::V1;

/// A key of the content of an event type, and the first and last version that keeps it.
type Kept = (&'static str, &'static str, RoomVersion, RoomVersion);

/// From [version 1](https://spec.matrix.org/v1.19/rooms/v1/#redactions) to
/// [version 11](https://spec.matrix.org/v1.19/rooms/v11/#redactions).
const CONTENT: [Kept; 20] = {
    use RoomVersion::{V5, V8, V9, V11, V12};
    [
        ("m.room.member", "membership", EVERY_VERSION, V12),
        ("m.room.member", "join_authorised_via_users_server", V9, V12),
        ("m.room.member", "third_party_invite", V11, V12),
        ("m.room.create", "creator", EVERY_VERSION, V12),
        ("m.room.create", "room_version", V11, V12),
        ("m.room.create", "any", V11, V12),
        ("m.room.join_rules", "join_rule", EVERY_VERSION, V12),
        ("m.room.join_rules", "allow", V8, V12),
        ("m.room.power_levels", "ban", EVERY_VERSION, V12),
        ("m.room.power_levels", "events", EVERY_VERSION, V12),
        ("m.room.power_levels", "events_default", EVERY_VERSION, V12),
        ("m.room.power_levels", "invite", V11, V12),
        ("m.room.power_levels", "kick", EVERY_VERSION, V12),
        ("m.room.power_levels", "redact", EVERY_VERSION, V12),
        ("m.room.power_levels", "state_default", EVERY_VERSION, V12),
        ("m.room.power_levels", "users", EVERY_VERSION, V12),
        ("m.room.power_levels", "users_default", EVERY_VERSION, V12),
        ("m.room.aliases", "aliases", EVERY_VERSION, V5),
        ("m.room.history_visibility", "history_visibility", EVERY_VERSION, V12),
        ("m.room.redaction", "redacts", V11, V12),
    ]
};

const TOP_LEVEL: [&str; 12] = [
    "event_id",
    "type",
    "room_id",
    "sender",
    "state_key",
    "content",
    "hashes",
    "signatures",
    "depth",
    "prev_events",
    "auth_events",
    "origin_server_ts",
];
const TOP_LEVEL_BEFORE_11: [&str; 3] = ["prev_state", "origin", "membership"];
const TOP_LEVEL_NEVER: [&str; 4] = ["unsigned", "redacts", "age_ts", "any"];

/// An event with every key that has a meaning in a redaction anywhere, and one that has none.
fn full_event(event_type: &str) -> Value {
    let content: Map<String, Value> =
        CONTENT.iter().map(|(_, key, ..)| ((*key).to_owned(), json!({ "signed": { "token": "t" } }))).collect();
    let mut event = json!({});
    for key in TOP_LEVEL.into_iter().chain(TOP_LEVEL_BEFORE_11).chain(TOP_LEVEL_NEVER) {
        event[key] = json!("text");
    }
    event["type"] = json!(event_type);
    event["content"] = Value::Object(content);
    event
}

fn redacted(version: RoomVersion, event: &Value) -> Value {
    let canonical = CanonicalObject::from_serialize(event, Numbers::Strict).unwrap();
    serde_json::from_slice(&redact_pdu(version, canonical.as_bytes())).unwrap()
}

#[test]
fn every_version_keeps_the_keys_of_its_list_and_no_other() {
    let types = CONTENT.iter().map(|(event_type, ..)| *event_type).chain(["m.room.message", "m.room.name"]);
    for event_type in types {
        let event = full_event(event_type);
        for version in RoomVersion::ALL {
            let mut expected = json!({});
            let older = TOP_LEVEL_BEFORE_11.into_iter().filter(|_| version < RoomVersion::V11);
            for key in TOP_LEVEL.into_iter().chain(older) {
                expected[key] = event[key].clone();
            }
            expected["content"] = json!({});
            for (of_type, key, first, last) in CONTENT {
                let all = event_type == "m.room.create" && version >= RoomVersion::V11;
                if all || (of_type == event_type && (first..=last).contains(&version)) {
                    expected["content"][key] = event["content"][key].clone();
                }
            }
            assert_eq!(redacted(version, &event), expected, "{event_type} in version {version}");

            let object: CanonicalJsonObject = serde_json::from_value(event.clone()).unwrap();
            let theirs = ruma_redact(object, &version.rules().redaction, None).unwrap();
            assert_eq!(serde_json::to_value(theirs).unwrap(), expected, "{event_type} in version {version}");
        }
    }
}
