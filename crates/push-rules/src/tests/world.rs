//! A room with one event, and one who may be notified.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    Compiler, DisplayName, NewRule, PreparedEvent, Recipient, RoomContext, RuleKind, RulePosition, Ruleset, SenderPower,
};

pub(crate) const ALICE: &str = "@alice:example.org";

/// What matters beside rules and event.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) room_id: &'static str,
    pub(crate) member_count: u64,
    pub(crate) sender_power: SenderPower,
    pub(crate) notifications: BTreeMap<String, i64>,
    pub(crate) display_name: &'static str,
}

impl Default for World {
    fn default() -> Self {
        Self {
            room_id: "!room:example.org",
            member_count: 3,
            sender_power: SenderPower::Level(0),
            notifications: BTreeMap::new(),
            display_name: "Alice in Wonderland",
        }
    }
}

/// A rule that matched: its ID, and whether it notifies, highlights and plays which sound.
pub(crate) type Found = (String, bool, bool, Option<String>);

impl World {
    pub(crate) fn context(&self) -> RoomContext<'_> {
        RoomContext {
            room_id: self.room_id,
            member_count: self.member_count,
            sender_power: self.sender_power,
            notifications: &self.notifications,
        }
    }

    /// What matches for Alice.
    pub(crate) fn evaluate(&self, ruleset: &Ruleset, event: &Value) -> Option<Found> {
        let json = event.to_string();
        let event = PreparedEvent::new(json.as_bytes(), self.context()).unwrap();
        let name = DisplayName::new(self.display_name);
        let recipient = Recipient { user_id: ALICE, display_name: name.as_ref() };
        let rules = Compiler::new(1024 * 1024).compile(ruleset);
        let found = rules.evaluate(&event, &recipient)?;
        let outcome = found.outcome();
        let mut all = Vec::new();
        rules.for_each_match(&event, &recipient, |found| all.push(found));
        assert_eq!(all.first(), Some(&found));
        Some((found.rule_id.to_owned(), outcome.notify, outcome.highlight, outcome.sound.map(str::to_owned)))
    }

    /// Whether an override rule with that one condition matches.
    pub(crate) fn holds(&self, condition: &Value, event: &Value) -> bool {
        let ruleset = with_rule(RuleKind::Override, "tested", &json!({ "conditions": [condition], "actions": [] }));
        self.evaluate(&ruleset, event).is_some_and(|(id, ..)| id == "tested")
    }
}

/// The default rules and one more.
pub(crate) fn with_rule(kind: RuleKind, id: &str, rule: &Value) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let rule = NewRule::parse(kind, rule.to_string().as_bytes()).unwrap();
    ruleset.put(kind, id, rule, RulePosition::default()).unwrap();
    ruleset
}

/// An event of Bob with that content.
pub(crate) fn event(event_type: &str, content: &Value) -> Value {
    json!({
        "type": event_type, "sender": "@bob:example.org", "event_id": "$event", "origin_server_ts": 1, "content": content,
    })
}

pub(crate) fn message(body: &str) -> Value {
    event("m.room.message", &json!({ "body": body, "msgtype": "m.text" }))
}

pub(crate) fn state_event(event_type: &str, state_key: &str, content: &Value) -> Value {
    let mut event = event(event_type, content);
    event["state_key"] = state_key.into();
    event
}
