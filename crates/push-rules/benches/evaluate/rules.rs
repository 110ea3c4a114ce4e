//! The rules, the room and the events.

use std::collections::BTreeMap;

use push_rules::{NewRule, PreparedEvent, RoomContext, RuleKind, RulePosition, Ruleset, SenderPower};
use serde_json::{Value, json};

pub(crate) static NOTIFICATIONS: BTreeMap<String, i64> = BTreeMap::new();

pub(crate) const SENDER: &str = "@sender:example.org";
pub(crate) const ROOM: &str = "!room:example.org";

const KEYWORDS: [&str; 10] =
    ["cake", "deploy", "outage", "postgres", "release", "incident", "alice", "on*call", "prod*down", "b?g"];

fn put(ruleset: &mut Ruleset, kind: RuleKind, id: &str, rule: &Value) {
    let rule = NewRule::parse(kind, rule.to_string().as_bytes()).unwrap();
    ruleset.put(kind, id, rule, RulePosition::default()).unwrap();
}

/// Twenty rules beside the default ones: 4 override rules, 10 keywords, 3 rooms and 3 senders. The number makes them
/// different from those of other users.
pub(crate) fn twenty_rules(number: usize) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let conditions = [
        json!({ "kind": "event_match", "key": "content.msgtype", "pattern": "m.video" }),
        json!({ "kind": "event_match", "key": "type", "pattern": "org.example.*" }),
        json!({ "kind": "room_member_count", "is": ">10000" }),
        json!({ "kind": "event_property_is", "key": "content.urgent", "value": true }),
    ];
    for (place, condition) in conditions.iter().enumerate() {
        let rule = json!({ "conditions": [condition], "actions": ["notify"] });
        put(&mut ruleset, RuleKind::Override, &format!("override {place} of {number}"), &rule);
    }
    for keyword in KEYWORDS {
        let rule = json!({ "pattern": keyword, "actions": ["notify", { "set_tweak": "highlight" }] });
        put(&mut ruleset, RuleKind::Content, keyword, &rule);
    }
    for place in 0..3 {
        put(&mut ruleset, RuleKind::Room, &format!("!muted{place}-{number}:example.org"), &json!({ "actions": [] }));
        put(&mut ruleset, RuleKind::Sender, &format!("@muted{place}-{number}:example.org"), &json!({ "actions": [] }));
    }
    ruleset
}

pub(crate) fn message(body: &str, mentions: &[&str]) -> String {
    let content = json!({ "msgtype": "m.text", "body": body, "m.mentions": { "user_ids": mentions } });
    json!({
        "type": "m.room.message", "sender": SENDER, "event_id": "$k2lqT3ZvVq0Q9eGmJ2B3uX1x0s4pS8uG7a6Yw5d4c3E",
        "origin_server_ts": 1_750_000_000_000_i64, "content": content,
    })
    .to_string()
}

/// A message that says nothing of anybody.
pub(crate) fn plain_message() -> String {
    message("Good morning everybody, shall we have lunch at the new place around the corner today?", &[])
}

pub(crate) fn prepared(json: &str, member_count: u64) -> PreparedEvent<'_> {
    let room =
        RoomContext { room_id: ROOM, member_count, sender_power: SenderPower::Level(0), notifications: &NOTIFICATIONS };
    PreparedEvent::new(json.as_bytes(), room).unwrap()
}
