//! Rules and events made at random, of few words, so that much matches.

use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

use super::world::World;
use crate::{NewRule, RuleKind, RulePosition, Ruleset, SenderPower};

pub(crate) const USERS: [&str; 4] =
    ["@alice:example.org", "@bob:example.org", "@carol:example.org", "@dan:example.org"];
pub(crate) const NAMES: [&str; 5] = ["Alice in Wonderland", "Bob", "carol-1", "日本", "cake"];

const ROOMS: [&str; 2] = ["!room:example.org", "!other:example.org"];
const TYPES: [&str; 8] = [
    "m.room.message",
    "m.room.encrypted",
    "m.room.member",
    "m.reaction",
    "m.room.tombstone",
    "m.room.server_acl",
    "m.call.invite",
    "org.example",
];
const WORDS: [&str; 9] = ["cake", "Cake", "lie", "bob", "Alice in", "wonderland", "日本", "carol", "ÉCLAIR"];
const PATTERNS: [&str; 12] =
    ["cake", "c?ke", "cake*lie", "*", "?", "", "*lie", "éclair", "日?", "bob*", "m.*", "cake lie"];
const KEYS: [&str; 9] = [
    "content.body",
    "content.msgtype",
    "type",
    "sender",
    "room_id",
    "state_key",
    r"content.m\.relates_to.rel_type",
    "content.nested.deep",
    "content.list",
];

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(texts)
}

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        one_of(&WORDS).prop_map(Value::from),
        one_of(&["m.replace", "m.thread", "m.text"]).prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn conditions() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (one_of(&KEYS), one_of(&PATTERNS))
            .prop_map(|(key, pattern)| json!({ "kind": "event_match", "key": key, "pattern": pattern })),
        2 => (one_of(&KEYS), scalars())
            .prop_map(|(key, value)| json!({ "kind": "event_property_is", "key": key, "value": value })),
        1 => (one_of(&KEYS), scalars())
            .prop_map(|(key, value)| json!({ "kind": "event_property_contains", "key": key, "value": value })),
        2 => Just(json!({ "kind": "contains_display_name" })),
        1 => one_of(&["2", "==3", "<3", ">2", "<=2", ">=3"])
            .prop_map(|is| json!({ "kind": "room_member_count", "is": is })),
        1 => one_of(&["room", "other"])
            .prop_map(|key| json!({ "kind": "sender_notification_permission", "key": key })),
        1 => Just(json!({ "kind": "org.example.unknown", "x": 1 })),
    ]
}

fn actions() -> impl Strategy<Value = Value> {
    let choices = vec![
        json!([]),
        json!(["notify"]),
        json!(["dont_notify"]),
        json!(["notify", { "set_tweak": "highlight" }]),
        json!(["notify", { "set_tweak": "highlight", "value": false }, { "set_tweak": "sound", "value": "ping" }]),
        json!(["notify", { "set_tweak": "light", "value": 1 }]),
    ];
    prop::sample::select(choices)
}

#[derive(Debug, Clone)]
enum Change {
    Put(RuleKind, &'static str, Value),
    Enable(RuleKind, usize, bool),
    Act(RuleKind, usize, Value),
}

fn puts() -> impl Strategy<Value = Change> {
    let conditional = prop_oneof![Just(RuleKind::Override), Just(RuleKind::Underride)];
    prop_oneof![
        3 => (conditional, one_of(&["one", "two", "three"]), vec(conditions(), 0..3), actions()).prop_map(
            |(kind, id, conditions, actions)| {
                Change::Put(kind, id, json!({ "conditions": conditions, "actions": actions }))
            }
        ),
        2 => (one_of(&["one", "two", "three"]), one_of(&PATTERNS), actions()).prop_map(|(id, pattern, actions)| {
            Change::Put(RuleKind::Content, id, json!({ "pattern": pattern, "actions": actions }))
        }),
        1 => (one_of(&ROOMS), actions())
            .prop_map(|(id, actions)| Change::Put(RuleKind::Room, id, json!({ "actions": actions }))),
        1 => (one_of(&USERS), actions())
            .prop_map(|(id, actions)| Change::Put(RuleKind::Sender, id, json!({ "actions": actions }))),
    ]
}

fn changes() -> impl Strategy<Value = Change> {
    let kinds = prop::sample::select(RuleKind::ALL.to_vec());
    prop_oneof![
        4 => puts(),
        1 => (kinds.clone(), 1..16_usize, any::<bool>())
            .prop_map(|(kind, index, enabled)| Change::Enable(kind, index, enabled)),
        1 => (kinds, 1..16_usize, actions()).prop_map(|(kind, index, actions)| Change::Act(kind, index, actions)),
    ]
}

/// Rule sets of a few rules, some of them default rules that are changed.
pub(crate) fn rulesets() -> impl Strategy<Value = Ruleset> {
    vec(changes(), 0..7).prop_map(|changes| {
        let mut ruleset = Ruleset::default();
        for change in changes {
            apply(&mut ruleset, &change);
        }
        ruleset
    })
}

fn apply(ruleset: &mut Ruleset, change: &Change) {
    let id_at = |ruleset: &Ruleset, kind, index: usize| {
        let ids: Vec<String> = ruleset.rules(kind).map(|rule| rule.id.to_owned()).collect();
        ids.get(index % ids.len().max(1)).cloned()
    };
    match change {
        Change::Put(kind, id, rule) => {
            let rule = NewRule::parse(*kind, rule.to_string().as_bytes()).unwrap();
            ruleset.put(*kind, id, rule, RulePosition::default()).unwrap();
        }
        Change::Enable(kind, index, enabled) => {
            if let Some(id) = id_at(ruleset, *kind, *index) {
                ruleset.set_enabled(*kind, &id, *enabled).unwrap();
            }
        }
        Change::Act(kind, index, actions) => {
            if let Some(id) = id_at(ruleset, *kind, *index) {
                ruleset.set_actions(*kind, &id, crate::Action::parse_list(actions).unwrap()).unwrap();
            }
        }
    }
}

fn bodies() -> impl Strategy<Value = String> {
    vec((one_of(&WORDS), one_of(&[" ", "", "-", "!", "é"])), 0..5)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, gap)| [word, gap]).collect())
}

fn contents() -> impl Strategy<Value = Value> {
    let optional = (
        prop::option::of(prop_oneof![8 => bodies().prop_map(Value::from), 1 => scalars()]),
        prop::option::of(one_of(&["m.text", "m.notice"])),
        prop::option::weighted(0.3, vec(one_of(&USERS), 0..3)),
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::weighted(0.2, one_of(&["m.replace", "m.thread"])),
        prop::option::weighted(0.3, one_of(&["invite", "join"])),
        prop::option::weighted(0.3, scalars()),
        prop::option::weighted(0.3, vec(scalars(), 0..4)),
    );
    optional.prop_map(|(body, msgtype, users, room, relation, membership, nested, list)| {
        let mut content = Map::new();
        let mut mentions = Map::new();
        mentions.extend(users.map(|users| ("user_ids".to_owned(), json!(users))));
        mentions.extend(room.map(|room| ("room".to_owned(), json!(room))));
        content.extend((!mentions.is_empty()).then(|| ("m.mentions".to_owned(), Value::Object(mentions))));
        content.extend(body.map(|body| ("body".to_owned(), body)));
        content.extend(msgtype.map(|msgtype| ("msgtype".to_owned(), json!(msgtype))));
        content.extend(relation.map(|relation| ("m.relates_to".to_owned(), json!({ "rel_type": relation }))));
        content.extend(membership.map(|membership| ("membership".to_owned(), json!(membership))));
        content.extend(nested.map(|nested| ("nested".to_owned(), json!({ "deep": nested }))));
        content.extend(list.map(|list| ("list".to_owned(), json!(list))));
        Value::Object(content)
    })
}

/// Events of all kinds.
pub(crate) fn events() -> impl Strategy<Value = Value> {
    let state_keys = prop_oneof![Just(None), Just(Some("")), one_of(&USERS).prop_map(Some)];
    let types = prop_oneof![2 => Just("m.room.message"), 3 => one_of(&TYPES)];
    (types, one_of(&USERS), state_keys, contents()).prop_map(|(event_type, sender, state_key, content)| {
        let mut event = json!({ "type": event_type, "sender": sender, "content": content });
        if let Some(state_key) = state_key {
            event["state_key"] = state_key.into();
        }
        event
    })
}

/// Rooms of few or many members, with and without levels for notifications.
pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let levels = prop::option::of(prop::sample::select(vec![0_i64, 50, 100]));
    (one_of(&ROOMS), 1..5_u64, prop::sample::select(vec![0_i64, 50, 100]), levels, one_of(&NAMES)).prop_map(
        |(room_id, member_count, power, room_level, display_name)| World {
            room_id,
            member_count,
            sender_power: SenderPower::Level(power),
            notifications: room_level.map(|level| ("room".to_owned(), level)).into_iter().collect(),
            display_name,
        },
    )
}
