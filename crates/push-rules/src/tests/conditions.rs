//! The [conditions](https://spec.matrix.org/v1.19/client-server-api/#conditions-1), by the specification's text and examples.

use serde_json::{Value, json};

use super::world::{World, event, message, state_event, with_rule};
use crate::{RuleKind, SenderPower};

fn holds(condition: Value, event: &Value) -> bool {
    World::default().holds(&condition, event)
}

fn topic(topic: impl Into<Value>) -> Value {
    state_event("m.room.topic", "", &json!({ "topic": topic.into() }))
}

#[test]
fn event_match_takes_a_glob_for_the_whole_value_in_any_case() {
    let lunch = json!({ "kind": "event_match", "key": "content.topic", "pattern": "lunc?*" });
    assert!(holds(lunch.clone(), &topic("Lunch plans")));
    assert!(holds(lunch.clone(), &topic("LUNCH")));
    assert!(!holds(lunch.clone(), &topic(" lunch")));
    assert!(!holds(lunch.clone(), &topic("lunc")));
    assert!(!holds(lunch, &topic(Value::Null)));
}

#[test]
fn event_match_needs_a_string_whatever_the_pattern() {
    let any = json!({ "kind": "event_match", "key": "content.topic", "pattern": "*" });
    assert!(holds(any.clone(), &topic("")));
    for other in [json!(1), json!(true), json!(["x"]), json!({ "x": "y" })] {
        assert!(!holds(any.clone(), &topic(other)));
    }
    assert!(!holds(any, &message("no topic")));
}

#[test]
fn event_match_looks_for_words_in_the_body() {
    let example = json!({ "kind": "event_match", "key": "content.body", "pattern": "ex*ple" });
    assert!(holds(example.clone(), &message("An example event.")));
    assert!(holds(example.clone(), &message("exple")));
    assert!(holds(example.clone(), &message("An exciting triple-whammy")));
    assert!(!holds(example.clone(), &message("An unexampled event.")));
    assert!(!holds(example, &event("m.room.message", &json!({ "body": 7 }))));
}

#[test]
fn event_match_reads_every_top_level_property() {
    let state = state_event("m.room.name", "key", &json!({}));
    for (key, pattern) in [
        ("type", "m.room.NAME"),
        ("sender", "@bob:*"),
        ("room_id", "!room:*"),
        ("state_key", "k?y"),
        ("event_id", "$event"),
    ] {
        assert!(holds(json!({ "kind": "event_match", "key": key, "pattern": pattern }), &state), "{key}");
    }
    assert!(!holds(json!({ "kind": "event_match", "key": "state_key", "pattern": "*" }), &message("no state")));
}

#[test]
fn the_room_is_the_one_the_event_is_in_whatever_the_event_says() {
    let mut lying = message("x");
    lying["room_id"] = "!other:example.org".into();
    assert!(!holds(json!({ "kind": "event_match", "key": "room_id", "pattern": "!other:*" }), &lying));
}

#[test]
fn event_property_is_compares_exactly_and_does_not_cast() {
    let federate = json!({ "kind": "event_property_is", "key": r"content.m\.federate", "value": true });
    let create = |federate: Value| state_event("m.room.create", "", &json!({ "m.federate": federate }));
    assert!(holds(federate.clone(), &create(json!(true))));
    for other in [json!("true"), json!(1), json!(false), json!(null), json!([true]), json!({})] {
        assert!(!holds(federate.clone(), &create(other)));
    }
    assert!(!holds(federate, &state_event("m.room.create", "", &json!({ "m": { "federate": true } }))));
}

#[test]
fn event_property_is_knows_strings_integers_and_null() {
    for value in [json!("Text"), json!(-9_007_199_254_740_991_i64), json!(null), json!("")] {
        let condition = json!({ "kind": "event_property_is", "key": "content.x", "value": value });
        assert!(holds(condition.clone(), &event("m.x", &json!({ "x": value }))));
        assert!(!holds(condition, &event("m.x", &json!({}))));
    }
    let condition = json!({ "kind": "event_property_is", "key": "content.x", "value": "Text" });
    assert!(!holds(condition, &event("m.x", &json!({ "x": "text" }))));
}

#[test]
fn event_property_is_takes_the_body_as_a_whole() {
    let condition = json!({ "kind": "event_property_is", "key": "content.body", "value": "Cake" });
    assert!(holds(condition.clone(), &message("Cake")));
    assert!(!holds(condition.clone(), &message("cake")));
    assert!(!holds(condition, &message("Cake!")));
}

#[test]
fn event_property_contains_finds_whole_values_of_arrays() {
    let contains =
        |value: &str| json!({ "kind": "event_property_contains", "key": "content.alt_aliases", "value": value });
    let aliases = state_event(
        "m.room.canonical_alias",
        "",
        &json!({ "alias": "#somewhere:localhost", "alt_aliases": [1, {}, "#somewhere:example.org", "#myroom:example.com"] }),
    );
    assert!(holds(contains("#myroom:example.com"), &aliases));
    assert!(!holds(contains(":example.com"), &aliases));
    assert!(!holds(contains("#somewhere:localhost"), &aliases));
    let number = json!({ "kind": "event_property_contains", "key": "content.alt_aliases", "value": 1 });
    assert!(holds(number, &aliases));
    let no_array = state_event("m.room.canonical_alias", "", &json!({ "alt_aliases": "#myroom:example.com" }));
    assert!(!holds(contains("#myroom:example.com"), &no_array));
}

#[test]
fn contains_display_name_looks_for_the_name_as_words() {
    let condition = json!({ "kind": "contains_display_name" });
    assert!(holds(condition.clone(), &message("look, ALICE in wonderland!")));
    assert!(!holds(condition.clone(), &message("Malice in Wonderland")));
    assert!(!holds(condition.clone(), &message("Alice")));
    let starred = World { display_name: "*", ..World::default() };
    assert!(!starred.holds(&condition, &message("hello")));
    assert!(starred.holds(&condition, &message("hello *")));
    let nameless = World { display_name: "", ..World::default() };
    assert!(!nameless.holds(&condition, &message("")));
}

#[test]
fn room_member_count_compares_the_number_of_members() {
    for (is, expected) in [("3", true), ("==3", true), (">3", false), ("<=3", true), ("<3", false), (">=4", false)] {
        assert_eq!(holds(json!({ "kind": "room_member_count", "is": is }), &message("x")), expected, "{is}");
    }
}

#[test]
fn sender_notification_permission_asks_for_the_rooms_level_or_fifty() {
    let condition = json!({ "kind": "sender_notification_permission", "key": "room" });
    let may = |power, required: &[(&str, i64)]| {
        let notifications = required.iter().map(|(key, level)| ((*key).to_owned(), *level)).collect();
        World { sender_power: power, notifications, ..World::default() }.holds(&condition, &message("x"))
    };
    assert!(!may(SenderPower::Level(49), &[]));
    assert!(may(SenderPower::Level(50), &[]));
    assert!(may(SenderPower::Level(20), &[("room", 20)]));
    assert!(!may(SenderPower::Level(99), &[("room", 100)]));
    assert!(may(SenderPower::Creator, &[("room", i64::MAX)]));
    assert!(!may(SenderPower::Level(49), &[("other", 0)]));
}

#[test]
fn a_permission_of_which_nothing_is_known_is_not_there() {
    let condition = json!({ "kind": "sender_notification_permission", "key": "other" });
    let world = World { sender_power: SenderPower::Level(100), ..World::default() };
    assert!(!world.holds(&condition, &message("x")));
    let world = World { notifications: [("other".to_owned(), 10)].into(), ..world };
    assert!(world.holds(&condition, &message("x")));
}

#[test]
fn unknown_conditions_never_match() {
    assert!(!holds(json!({ "kind": "org.example.moon_phase", "is": "full" }), &message("x")));
}

#[test]
fn all_conditions_of_a_rule_must_hold_and_none_always_do() {
    let is_text = json!({ "kind": "event_match", "key": "content.msgtype", "pattern": "m.text" });
    let is_cake = json!({ "kind": "event_match", "key": "content.body", "pattern": "cake" });
    let rules = |conditions: Value| {
        with_rule(RuleKind::Override, "x", &json!({ "conditions": conditions, "actions": ["notify"] }))
    };
    let id = |conditions: Value, body: &str| World::default().evaluate(&rules(conditions), &message(body)).unwrap().0;
    assert_eq!(id(json!([is_text, is_cake]), "cake"), "x");
    assert_eq!(id(json!([is_text, is_cake]), "pie"), ".m.rule.message");
    assert_eq!(id(json!([]), "pie"), "x");
}

#[test]
fn content_room_and_sender_rules_have_their_own_conditions() {
    let world = World::default();
    let id = |kind, id: &str, rule: Value, event: &Value| {
        world.evaluate(&with_rule(kind, id, &rule), event).map(|(id, ..)| id)
    };
    let quiet = json!({ "actions": [] });
    let cake = json!({ "pattern": "cake*lie", "actions": ["notify"] });
    assert_eq!(id(RuleKind::Content, "c", cake.clone(), &message("the cake is a lie")).unwrap(), "c");
    assert_eq!(id(RuleKind::Content, "c", cake, &message("the cake is real")).unwrap(), ".m.rule.message");
    assert_eq!(id(RuleKind::Room, "!room:example.org", quiet.clone(), &message("x")).unwrap(), "!room:example.org");
    assert_eq!(id(RuleKind::Room, "!other:example.org", quiet.clone(), &message("x")).unwrap(), ".m.rule.message");
    assert_eq!(id(RuleKind::Sender, "@bob:example.org", quiet.clone(), &message("x")).unwrap(), "@bob:example.org");
    assert_eq!(id(RuleKind::Sender, "@eve:example.org", quiet, &message("x")).unwrap(), ".m.rule.message");
}
