//! The [predefined rules](https://spec.matrix.org/v1.19/client-server-api/#predefined-rules), one by one.

use ruma::{push, user_id};
use serde_json::{Value, json};

use super::world::{ALICE, Found, World, event, message, state_event, with_rule};
use crate::{DefaultRule, RuleKind, RuleTest, Ruleset, SenderPower, fold::fold};

fn found(event: &Value) -> Option<Found> {
    World::default().evaluate(&Ruleset::default(), event)
}

fn rule(id: &str, notify: bool, highlight: bool, sound: Option<&str>) -> Option<Found> {
    Some((id.to_owned(), notify, highlight, sound.map(str::to_owned)))
}

#[test]
fn the_rules_are_those_of_another_implementation_of_the_specification() {
    let theirs = serde_json::to_value(push::Ruleset::server_default(user_id!("@alice:example.org"))).unwrap();
    let ours = serde_json::to_value(Ruleset::default().for_client(ALICE)).unwrap();
    for kind in RuleKind::ALL {
        let theirs = theirs.get(kind.as_str()).cloned().unwrap_or(json!([]));
        assert_eq!(ours[kind.as_str()], theirs, "{kind}");
    }
}

/// The evaluation of default rules compares their patterns as they are.
#[test]
fn patterns_of_default_rules_are_plain_text_and_their_order_is_by_kind() {
    for (_, rule) in DefaultRule::all() {
        let RuleTest::Conditions(conditions) = &rule.test else { panic!("{} has no conditions", rule.id) };
        for condition in conditions.iter() {
            if let crate::Condition::EventMatch { pattern, .. } = condition {
                assert!(!pattern.contains(['*', '?']) && fold(pattern) == *pattern, "{}", rule.id);
            }
        }
    }
    assert!(DefaultRule::all().map(|(default, _)| default.kind()).is_sorted());
    assert_eq!(DefaultRule::INVITE_FOR_ME.rule().id, ".m.rule.invite_for_me");
    assert_eq!(DefaultRule::IS_USER_MENTION.rule().id, ".m.rule.is_user_mention");
    assert_eq!(DefaultRule::MASTER.rule().id, ".m.rule.master");
}

#[test]
fn master_silences_everything_once_it_is_enabled() {
    let mut ruleset = with_rule(RuleKind::Override, "mine", &json!({ "conditions": [], "actions": ["notify"] }));
    ruleset.set_enabled(RuleKind::Override, ".m.rule.master", true).unwrap();
    assert_eq!(World::default().evaluate(&ruleset, &message("x")), rule(".m.rule.master", false, false, None));
}

#[test]
fn notices_are_suppressed() {
    let notice = event("m.room.message", &json!({ "msgtype": "m.notice", "body": "x" }));
    assert_eq!(found(&notice), rule(".m.rule.suppress_notices", false, false, None));
}

#[test]
fn an_invite_notifies_the_invited_with_a_sound_and_nobody_else() {
    let invite = |user: &str| state_event("m.room.member", user, &json!({ "membership": "invite" }));
    assert_eq!(found(&invite(ALICE)), rule(".m.rule.invite_for_me", true, false, Some("default")));
    assert_eq!(found(&invite("@carol:example.org")), rule(".m.rule.member_event", false, false, None));
    let join = state_event("m.room.member", ALICE, &json!({ "membership": "join" }));
    assert_eq!(found(&join), rule(".m.rule.member_event", false, false, None));
}

#[test]
fn a_mention_highlights_for_the_mentioned() {
    let mention = |users: Value| event("m.room.message", &json!({ "body": "x", "m.mentions": { "user_ids": users } }));
    let expected = rule(".m.rule.is_user_mention", true, true, Some("default"));
    assert_eq!(found(&mention(json!(["@carol:example.org", ALICE]))), expected);
    assert_eq!(found(&mention(json!(["@carol:example.org"]))), rule(".m.rule.message", true, false, None));
    assert_eq!(found(&mention(json!([]))), rule(".m.rule.message", true, false, None));
    assert_eq!(found(&mention(json!(ALICE))), rule(".m.rule.message", true, false, None));
}

#[test]
fn a_room_mention_highlights_if_the_sender_may() {
    let mention = |room: Value| event("m.room.message", &json!({ "body": "x", "m.mentions": { "room": room } }));
    let powerful = World { sender_power: SenderPower::Level(50), ..World::default() };
    let evaluate = |room: Value| powerful.evaluate(&Ruleset::default(), &mention(room));
    assert_eq!(evaluate(json!(true)), rule(".m.rule.is_room_mention", true, true, None));
    assert_eq!(evaluate(json!("true")), rule(".m.rule.message", true, false, None));
    assert_eq!(found(&mention(json!(true))), rule(".m.rule.message", true, false, None));
}

#[test]
fn a_tombstone_highlights_if_it_is_state() {
    assert_eq!(found(&state_event("m.room.tombstone", "", &json!({}))), rule(".m.rule.tombstone", true, true, None));
    assert_eq!(found(&state_event("m.room.tombstone", "x", &json!({}))), None);
    assert_eq!(found(&event("m.room.tombstone", &json!({}))), None);
}

#[test]
fn reactions_server_acls_and_edits_are_suppressed() {
    assert_eq!(found(&event("m.reaction", &json!({}))), rule(".m.rule.reaction", false, false, None));
    let acl = state_event("m.room.server_acl", "", &json!({}));
    assert_eq!(found(&acl), rule(".m.rule.room.server_acl", false, false, None));
    let edit = event("m.room.message", &json!({ "body": "x", "m.relates_to": { "rel_type": "m.replace" } }));
    assert_eq!(found(&edit), rule(".m.rule.suppress_edits", false, false, None));
    let reply = event("m.room.message", &json!({ "body": "x", "m.relates_to": { "rel_type": "m.thread" } }));
    assert_eq!(found(&reply), rule(".m.rule.message", true, false, None));
}

#[test]
fn calls_ring() {
    assert_eq!(found(&event("m.call.invite", &json!({}))), rule(".m.rule.call", true, false, Some("ring")));
}

#[test]
fn messages_play_a_sound_in_rooms_of_two() {
    let two = World { member_count: 2, ..World::default() };
    let encrypted = event("m.room.encrypted", &json!({}));
    let evaluate = |world: &World, event: &Value| world.evaluate(&Ruleset::default(), event);
    let expected = rule(".m.rule.room_one_to_one", true, false, Some("default"));
    assert_eq!(evaluate(&two, &message("x")), expected);
    let expected = rule(".m.rule.encrypted_room_one_to_one", true, false, Some("default"));
    assert_eq!(evaluate(&two, &encrypted), expected);
    assert_eq!(found(&message("x")), rule(".m.rule.message", true, false, None));
    assert_eq!(found(&encrypted), rule(".m.rule.encrypted", true, false, None));
}

#[test]
fn nothing_matches_events_of_other_types_and_the_users_own() {
    assert_eq!(found(&event("org.example.other", &json!({ "body": "x" }))), None);
    let mut own = message("x");
    own["sender"] = ALICE.into();
    assert_eq!(found(&own), None);
}

#[test]
fn a_users_own_rules_come_before_the_default_ones_of_the_kind() {
    let condition = json!({ "kind": "event_match", "key": "content.msgtype", "pattern": "m.notice" });
    let mine = json!({ "conditions": [condition], "actions": ["notify"] });
    let notice = event("m.room.message", &json!({ "msgtype": "m.notice", "body": "x" }));
    let world = World::default();
    let ruleset = with_rule(RuleKind::Override, "mine", &mine);
    assert_eq!(world.evaluate(&ruleset, &notice), rule("mine", true, false, None));
    let ruleset = with_rule(RuleKind::Underride, "mine", &mine);
    assert_eq!(world.evaluate(&ruleset, &notice), rule(".m.rule.suppress_notices", false, false, None));
}
