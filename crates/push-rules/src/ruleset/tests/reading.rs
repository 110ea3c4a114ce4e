use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    Condition, MAX_CONDITIONS, MAX_PATTERN_BYTES, MAX_RULE_BYTES, NewRule, RuleErrorKind, RuleKind, RuleTest, Ruleset,
    tests::generated::rulesets,
};

const ALICE: &str = "@alice:example.org";

fn parse(json: &Value) -> Ruleset {
    Ruleset::parse(json.to_string().as_bytes()).unwrap()
}

fn new(kind: RuleKind, json: &Value) -> Result<NewRule, RuleErrorKind> {
    NewRule::parse(kind, json.to_string().as_bytes()).map_err(|error| error.kind())
}

#[test]
fn default_rules_take_no_room_in_storage_and_name_the_user_to_clients() {
    let stored = serde_json::to_value(Ruleset::default().for_storage()).unwrap();
    assert_eq!(stored, json!({ "override": [], "content": [], "room": [], "sender": [], "underride": [] }));
    let shown = serde_json::to_value(Ruleset::default().for_client(ALICE)).unwrap();
    assert_eq!(shown["override"][2]["conditions"][2]["pattern"], ALICE);
    assert_eq!(shown["override"][4]["conditions"][0]["value"], ALICE);
    assert_eq!(shown["content"], json!([]));
}

#[test]
fn what_clients_see_of_one_rule_is_what_the_specification_shows() {
    let mut ruleset = Ruleset::default();
    let rule = json!({ "pattern": "cake*lie", "actions": [] });
    ruleset
        .put(RuleKind::Content, "nocake", new(RuleKind::Content, &rule).unwrap(), crate::RulePosition::default())
        .unwrap();
    let shown = serde_json::to_value(ruleset.rule(RuleKind::Content, "nocake").unwrap().json(ALICE)).unwrap();
    let expected =
        json!({ "actions": [], "pattern": "cake*lie", "rule_id": "nocake", "enabled": true, "default": false });
    assert_eq!(shown, expected);
}

#[test]
fn unknown_conditions_and_actions_are_written_back_as_they_came() {
    let conditions = json!([{ "kind": "org.example.moon", "phase": { "full": true } }, { "kind": "event_match" }]);
    let actions = json!(["dont_notify", { "set_tweak": "light", "value": [1.5] }, "org.example.shake"]);
    let rule =
        json!({ "rule_id": "x", "default": false, "enabled": false, "conditions": conditions, "actions": actions });
    let ruleset = parse(&json!({ "underride": [rule] }));
    assert_eq!(serde_json::to_value(ruleset.for_storage()).unwrap()["underride"], json!([rule]));
}

#[test]
fn default_rules_that_are_no_more_are_left_out_and_the_others_keep_what_the_user_changed() {
    let ruleset = parse(&json!({
        "content": [{ "rule_id": ".m.rule.contains_user_name", "default": true, "enabled": true, "actions": ["notify"] }],
        "override": [
            { "rule_id": ".m.rule.roomnotif", "default": true, "enabled": true, "actions": ["notify"] },
            { "rule_id": ".m.rule.reaction", "default": true, "enabled": false, "actions": ["notify"] },
        ],
        "underride": [{ "rule_id": ".m.rule.message", "default": true, "enabled": true }],
    }));
    assert_eq!(ruleset.rules(RuleKind::Content).count(), 0);
    assert!(ruleset.rule(RuleKind::Override, ".m.rule.roomnotif").is_none());
    let reaction = ruleset.rule(RuleKind::Override, ".m.rule.reaction").unwrap();
    assert!(!reaction.enabled && reaction.actions.len() == 1);
    assert_eq!(serde_json::to_value(ruleset.for_storage()).unwrap()["underride"], json!([]), "nothing is changed");
}

#[test]
fn a_new_rule_needs_actions_and_what_its_kind_asks_for() {
    assert!(new(RuleKind::Override, &json!({ "actions": [] })).is_ok(), "conditions may be left out");
    assert!(new(RuleKind::Room, &json!({ "actions": [], "pattern": 7 })).is_ok(), "it has no pattern");
    for (kind, json) in [
        (RuleKind::Override, json!({ "conditions": [] })),
        (RuleKind::Content, json!({ "actions": [] })),
        (RuleKind::Content, json!({ "actions": [], "pattern": 7 })),
        (RuleKind::Room, json!({ "actions": "notify" })),
        (RuleKind::Sender, json!({ "actions": [7] })),
        (RuleKind::Underride, json!({ "actions": [], "conditions": {} })),
        (RuleKind::Underride, json!({ "actions": [], "conditions": ["x"] })),
        (RuleKind::Underride, json!({ "actions": [], "conditions": [{ "key": "type" }] })),
        (RuleKind::Underride, json!([])),
    ] {
        assert_eq!(new(kind, &json).unwrap_err(), RuleErrorKind::BadJson, "{json}");
    }
    assert_eq!(NewRule::parse(RuleKind::Room, b"{").unwrap_err().kind(), RuleErrorKind::NotJson);
}

#[test]
fn conditions_of_known_kinds_need_their_parameters_when_they_are_set() {
    for condition in [
        json!({ "kind": "event_match", "key": "type" }),
        json!({ "kind": "event_match", "pattern": "x" }),
        json!({ "kind": "event_property_is", "key": "type" }),
        json!({ "kind": "event_property_is", "key": "type", "value": [1] }),
        json!({ "kind": "event_property_contains", "key": "type", "value": 1.5 }),
        json!({ "kind": "event_property_contains", "key": "type", "value": 9_007_199_254_740_992_i64 }),
        json!({ "kind": "room_member_count", "is": 2 }),
        json!({ "kind": "room_member_count", "is": "few" }),
        json!({ "kind": "sender_notification_permission" }),
    ] {
        let rule = json!({ "conditions": [condition], "actions": [] });
        assert_eq!(new(RuleKind::Override, &rule).unwrap_err(), RuleErrorKind::BadJson, "{condition}");
        let stored = parse(&json!({ "override": [{ "rule_id": "x", "conditions": [condition], "actions": [] }] }));
        let RuleTest::Conditions(conditions) = &stored.own(RuleKind::Override)[0].test else { panic!("no conditions") };
        assert_eq!(conditions[..], [Condition::Unknown(condition)]);
    }
}

#[test]
fn rules_beyond_the_limits_are_refused() {
    let pattern = |length| json!({ "pattern": "x".repeat(length), "actions": [] });
    assert!(new(RuleKind::Content, &pattern(MAX_PATTERN_BYTES)).is_ok());
    assert_eq!(new(RuleKind::Content, &pattern(MAX_PATTERN_BYTES + 1)).unwrap_err(), RuleErrorKind::TooLarge);
    let conditions = vec![json!({ "kind": "x" }); MAX_CONDITIONS + 1];
    let rule = json!({ "conditions": conditions, "actions": [] });
    assert_eq!(new(RuleKind::Override, &rule).unwrap_err(), RuleErrorKind::TooLarge);
    let rule = json!({ "actions": ["x".repeat(MAX_RULE_BYTES)] });
    assert_eq!(new(RuleKind::Room, &rule).unwrap_err(), RuleErrorKind::TooLarge);
}

#[test]
fn a_rule_that_is_there_twice_is_refused() {
    let rule = json!({ "rule_id": "x", "actions": [] });
    let json = json!({ "room": [rule, rule] }).to_string();
    assert_eq!(Ruleset::parse(json.as_bytes()).unwrap_err().kind(), RuleErrorKind::BadJson);
    parse(&json!({ "room": [rule], "sender": [rule] }));
}

proptest! {
    #[test]
    fn rules_are_read_as_they_were_written(ruleset in rulesets()) {
        let stored = serde_json::to_vec(&ruleset.for_storage()).unwrap();
        prop_assert_eq!(stored.len(), ruleset.json_bytes());
        prop_assert_eq!(&Ruleset::parse(&stored).unwrap(), &ruleset);
        let shown = serde_json::to_vec(&ruleset.for_client(ALICE)).unwrap();
        prop_assert_eq!(&Ruleset::parse(&shown).unwrap(), &ruleset);
    }
}
