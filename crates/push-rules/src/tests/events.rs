//! Events as other servers may send them.

use serde_json::json;

use super::world::{World, event, message};
use crate::{DisplayName, MAX_NESTING, PreparedEvent, Ruleset};

fn prepares(json: &str) -> bool {
    PreparedEvent::new(json.as_bytes(), World::default().context()).is_ok()
}

#[test]
fn what_is_no_object_is_no_event() {
    for json in ["", "[]", "7", "\"text\"", "null", "{", "{}x", "{\"type\":}"] {
        assert!(!prepares(json), "{json}");
    }
    assert!(prepares("{}"));
}

#[test]
fn what_is_nested_too_deep_is_passed_over_and_the_rest_is_read() {
    let nested = |levels: usize| format!("{}1{}", "{\"x\":".repeat(levels), "}".repeat(levels));
    let lists = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let world = World::default();
    for deep in [nested(MAX_NESTING), nested(MAX_NESTING + 1), nested(100_000), lists(100_000)] {
        let json =
            format!(r#"{{"a":{deep},"content":{{"b":{deep},"x":"word"}},"sender":"@bob:example.org","type":"m.x"}}"#);
        let event = PreparedEvent::new(json.as_bytes(), world.context()).unwrap();
        assert_eq!(event.sender(), Some("@bob:example.org"));
        let word = event.property(&crate::event::Property::of_path("content.x"));
        assert_eq!(word.and_then(crate::event::Value::as_text), Some("word"));
    }
    assert!(!prepares(&"{\"x\":".repeat(100_000)), "it has no end");
}

#[test]
fn of_a_property_that_is_there_twice_the_last_one_counts() {
    let world = World::default();
    let condition = json!({ "kind": "event_match", "key": "content.x", "pattern": "second" });
    let json = r#"{"type":"m.x","sender":"@bob:example.org","content":{"x":"first","a":1,"x":"second"}}"#;
    let twice = PreparedEvent::new(json.as_bytes(), world.context()).unwrap();
    let ruleset = super::world::with_rule(
        crate::RuleKind::Override,
        "x",
        &json!({ "conditions": [condition], "actions": ["notify"] }),
    );
    let alice = crate::Recipient { user_id: super::world::ALICE, display_name: None };
    let rules = crate::Compiler::new(1024).compile(&ruleset);
    assert_eq!(rules.evaluate(&twice, &alice).unwrap().rule_id, "x");
}

#[test]
fn paths_lead_through_names_with_dots_and_backslashes() {
    let world = World::default();
    let odd = event("m.x", &json!({ "m.relates_to": { "a\\b": "found" }, "list": [{ "x": "y" }] }));
    let is = |key: &str, value: &str| json!({ "kind": "event_property_is", "key": key, "value": value });
    assert!(world.holds(&is(r"content.m\.relates_to.a\\b", "found"), &odd));
    assert!(world.holds(&is(r"content.m\.relates_to.a\b", "found"), &odd), "other escapes are left as they are");
    assert!(!world.holds(&is("content.m.relates_to.a", "found"), &odd));
    assert!(!world.holds(&is("content.list.0.x", "y"), &odd), "arrays are no objects");
}

#[test]
fn properties_of_a_body_that_is_an_object_are_found() {
    let odd = event("m.x", &json!({ "body": { "x": "y" } }));
    let condition = json!({ "kind": "event_match", "key": "content.body.x", "pattern": "y" });
    assert!(World::default().holds(&condition, &odd));
}

#[test]
fn what_a_server_adds_to_an_event_is_not_looked_at() {
    let mut seen = message("x");
    seen["unsigned"] = json!({ "age": 1 });
    let condition = json!({ "kind": "event_property_is", "key": "unsigned.age", "value": 1 });
    assert!(!World::default().holds(&condition, &seen));
}

#[test]
fn numbers_that_are_no_canonical_integers_equal_nothing() {
    let world = World::default();
    let condition = json!({ "kind": "event_property_is", "key": "content.x", "value": 1 });
    assert!(world.holds(&condition, &event("m.x", &json!({ "x": 1 }))));
    for other in ["1.0", "1e0", "9007199254740993", "18446744073709551616", "-9007199254740993"] {
        let number: serde_json::Value = serde_json::from_str(other).unwrap();
        assert!(!world.holds(&condition, &event("m.x", &json!({ "x": number }))), "{other}");
    }
}

/// Names above a property belong to its path; writing the paths out would take 30,000 bytes for each of these properties.
#[test]
fn long_names_above_many_properties_cost_no_more_than_they_take() {
    let members: serde_json::Map<_, _> = (0..4_000).map(|number| (number.to_string(), json!(1))).collect();
    let large = event("m.x", &json!({ "x".repeat(30_000): members })).to_string();
    let before = allocation_counter::measure(|| assert!(prepares(&large)));
    assert!(before.bytes_max < 2_000_000, "{} bytes", before.bytes_max);
}

#[test]
fn names_that_are_too_long_are_not_looked_for() {
    assert!(DisplayName::new(&"x".repeat(512)).is_some());
    assert!(DisplayName::new(&"x".repeat(513)).is_none());
    assert!(World::default().evaluate(&Ruleset::default(), &message(&"x ".repeat(30_000))).is_some());
}
