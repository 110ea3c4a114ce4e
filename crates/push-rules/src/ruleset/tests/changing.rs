use proptest::{collection::vec, prelude::*};
use ruma::push::{self, NewPatternedPushRule, NewPushRule};
use serde_json::json;

use crate::{Action, MAX_ACTIONS, MAX_RULES, NewRule, RuleError, RuleErrorKind, RuleKind, RulePosition, Ruleset};

fn cake() -> NewRule {
    NewRule::parse(RuleKind::Content, br#"{"pattern":"cake","actions":["notify"]}"#).unwrap()
}

fn put(ruleset: &mut Ruleset, id: &str, place: RulePosition<'_>) -> Result<(), RuleError> {
    ruleset.put(RuleKind::Content, id, cake(), place)
}

fn before(id: &str) -> RulePosition<'_> {
    RulePosition { before: Some(id), after: None }
}

fn after(id: &str) -> RulePosition<'_> {
    RulePosition { before: None, after: Some(id) }
}

fn ids(ruleset: &Ruleset, kind: RuleKind) -> Vec<&str> {
    ruleset.rules(kind).map(|rule| rule.id).collect()
}

/// `a` above `b` above `c`.
fn three() -> Ruleset {
    let mut ruleset = Ruleset::default();
    for id in ["c", "b", "a"] {
        put(&mut ruleset, id, RulePosition::default()).unwrap();
    }
    ruleset
}

#[test]
fn a_new_rule_is_enabled_and_the_most_important_of_its_kind() {
    let ruleset = three();
    assert_eq!(ids(&ruleset, RuleKind::Content), ["a", "b", "c"]);
    assert!(ruleset.rules(RuleKind::Content).all(|rule| rule.enabled && !rule.default));
}

#[test]
fn the_master_rule_stays_above_new_override_rules() {
    let mut ruleset = Ruleset::default();
    let rule = NewRule::parse(RuleKind::Override, br#"{"conditions":[],"actions":[]}"#).unwrap();
    ruleset.put(RuleKind::Override, "mine", rule, RulePosition::default()).unwrap();
    let ids = ids(&ruleset, RuleKind::Override);
    assert_eq!(ids[..3], [".m.rule.master", "mine", ".m.rule.suppress_notices"]);
    assert_eq!(ids.len(), 11);
}

#[test]
fn a_rule_goes_directly_above_or_below_another() {
    let mut ruleset = three();
    put(&mut ruleset, "x", before("b")).unwrap();
    put(&mut ruleset, "y", after("b")).unwrap();
    put(&mut ruleset, "z", after("c")).unwrap();
    assert_eq!(ids(&ruleset, RuleKind::Content), ["a", "x", "b", "y", "c", "z"]);
}

#[test]
fn before_decides_where_both_are_given() {
    let mut ruleset = three();
    put(&mut ruleset, "x", RulePosition { before: Some("c"), after: Some("a") }).unwrap();
    assert_eq!(ids(&ruleset, RuleKind::Content), ["a", "b", "x", "c"]);
}

#[test]
fn a_rule_that_is_there_moves_only_to_a_place_that_is_named() {
    let mut ruleset = three();
    put(&mut ruleset, "c", RulePosition::default()).unwrap();
    assert_eq!(ids(&ruleset, RuleKind::Content), ["a", "b", "c"]);
    put(&mut ruleset, "a", after("c")).unwrap();
    assert_eq!(ids(&ruleset, RuleKind::Content), ["b", "c", "a"]);
    put(&mut ruleset, "b", before("a")).unwrap();
    assert_eq!(ids(&ruleset, RuleKind::Content), ["c", "b", "a"]);
    put(&mut ruleset, "a", before("c")).unwrap();
    assert_eq!(ids(&ruleset, RuleKind::Content), ["a", "c", "b"]);
    put(&mut ruleset, "c", before("c")).unwrap();
    put(&mut ruleset, "c", after("c")).unwrap();
    assert_eq!(ids(&ruleset, RuleKind::Content), ["a", "c", "b"]);
}

#[test]
fn a_rule_that_is_replaced_stays_disabled() {
    let mut ruleset = three();
    ruleset.set_enabled(RuleKind::Content, "b", false).unwrap();
    let pie = NewRule::parse(RuleKind::Content, br#"{"pattern":"pie","actions":[]}"#).unwrap();
    ruleset.put(RuleKind::Content, "b", pie, RulePosition::default()).unwrap();
    let rule = ruleset.rule(RuleKind::Content, "b").unwrap();
    assert!(!rule.enabled && rule.actions.is_empty());
}

#[test]
fn ids_of_default_rules_and_ids_that_break_paths_are_refused() {
    let mut ruleset = Ruleset::default();
    let reserved = put(&mut ruleset, ".mine", RulePosition::default()).unwrap_err();
    assert_eq!(reserved, RuleError::ReservedId { id: ".mine".to_owned() });
    for id in ["", "a/b", r"a\b", "x".repeat(256).as_str()] {
        assert_eq!(put(&mut ruleset, id, RulePosition::default()), Err(RuleError::InvalidId), "{id}");
    }
    assert!(ruleset.is_default());
}

#[test]
fn a_place_next_to_an_unknown_or_default_rule_is_refused() {
    let mut ruleset = three();
    for place in [before("x"), after("x")] {
        let error = put(&mut ruleset, "new", place).unwrap_err();
        assert_eq!(error, RuleError::UnknownNeighbour { id: "x".to_owned() });
        assert_eq!(error.kind(), RuleErrorKind::Unknown);
    }
    let error = put(&mut ruleset, "new", before(".m.rule.master")).unwrap_err();
    assert_eq!(error, RuleError::DefaultNeighbour { id: ".m.rule.master".to_owned() });
    assert_eq!(ruleset, three());
}

#[test]
fn own_rules_can_be_removed_and_default_rules_cannot() {
    let mut ruleset = three();
    ruleset.remove(RuleKind::Content, "b").unwrap();
    assert_eq!(ids(&ruleset, RuleKind::Content), ["a", "c"]);
    let unknown = ruleset.remove(RuleKind::Content, "b").unwrap_err();
    assert_eq!(unknown.kind(), RuleErrorKind::NotFound);
    assert_eq!(ruleset.remove(RuleKind::Room, "a").unwrap_err().kind(), RuleErrorKind::NotFound);
    let default = ruleset.remove(RuleKind::Override, ".m.rule.master").unwrap_err();
    assert_eq!(default, RuleError::DefaultRule { id: ".m.rule.master".to_owned() });
}

#[test]
fn any_rule_can_be_enabled_disabled_and_given_actions() {
    let mut ruleset = three();
    let highlight = vec![Action::Notify, Action::Highlight(None)];
    for (kind, id) in [(RuleKind::Content, "a"), (RuleKind::Underride, ".m.rule.message")] {
        ruleset.set_enabled(kind, id, false).unwrap();
        ruleset.set_actions(kind, id, highlight.clone()).unwrap();
        let rule = ruleset.rule(kind, id).unwrap();
        assert!(!rule.enabled);
        assert_eq!(rule.actions, highlight);
    }
    assert!(ruleset.rule(RuleKind::Underride, ".m.rule.message").unwrap().default);
    assert_eq!(ruleset.set_enabled(RuleKind::Sender, "a", true).unwrap_err().kind(), RuleErrorKind::NotFound);
    let error = ruleset.set_actions(RuleKind::Override, ".m.rule.message", vec![]).unwrap_err();
    assert_eq!(error.kind(), RuleErrorKind::NotFound, "it is an underride rule");
}

#[test]
fn the_number_and_the_size_of_rules_are_bounded() {
    let mut ruleset = Ruleset::default();
    let rules: Vec<_> = (0..MAX_RULES).map(|id| json!({ "rule_id": id.to_string(), "actions": [] })).collect();
    ruleset.clone_from(&Ruleset::parse(json!({ "room": rules }).to_string().as_bytes()).unwrap());
    assert_eq!(ruleset.own_rules(), MAX_RULES);
    assert_eq!(put(&mut ruleset, "one more", RulePosition::default()).unwrap_err().kind(), RuleErrorKind::TooLarge);
    let large = Action::Other(json!({ "set_tweak": "x".repeat(1024 * 1024 / MAX_ACTIONS) }));
    let error = three().set_actions(RuleKind::Content, "a", vec![large; MAX_ACTIONS]).unwrap_err();
    assert_eq!(error.kind(), RuleErrorKind::TooLarge);
}

proptest! {
    /// Of rules that are there already, ruma is not asked: it moves them one place too far down.
    #[test]
    fn new_rules_get_the_place_that_ruma_gives_them(places in vec((any::<u8>(), any::<u8>()), 1..12)) {
        let mut ours = Ruleset::default();
        let mut theirs = push::Ruleset::new();
        for (number, (choice, neighbour)) in places.into_iter().enumerate() {
            let id = number.to_string();
            let neighbour = (number > 0).then(|| (usize::from(neighbour) % number).to_string());
            let (before, after) = match choice % 3 {
                0 => (neighbour.as_deref(), None),
                1 => (None, neighbour.as_deref()),
                _ => (None, None),
            };
            put(&mut ours, &id, RulePosition { before, after }).unwrap();
            let rule = NewPushRule::Content(NewPatternedPushRule::new(id, "cake".to_owned(), vec![]));
            theirs.insert(rule, after, before).unwrap();
        }
        let theirs: Vec<&str> = theirs.content.iter().map(|rule| rule.rule_id.as_str()).collect();
        prop_assert_eq!(ids(&ours, RuleKind::Content), theirs);
    }
}

#[test]
fn rules_about_a_room_are_copied_for_the_one_that_replaces_it_and_nothing_else_is() {
    let mut ruleset = three();
    let silent = |kind, test: &str| NewRule::parse(kind, format!(r#"{{{test}"actions":[]}}"#).as_bytes()).unwrap();
    let in_room = |room: &str| {
        let condition = format!(r#"{{"kind":"event_match","key":"room_id","pattern":"{room}"}}"#);
        silent(RuleKind::Override, &format!(r#""conditions":[{condition},{{"kind":"other"}}],"#))
    };
    for (kind, id, rule) in [
        (RuleKind::Override, "mine", in_room("!old:x")),
        (RuleKind::Override, "!old:x", in_room("!old:x")),
        (RuleKind::Override, "elsewhere", in_room("!other:x")),
        (RuleKind::Room, "!old:x", silent(RuleKind::Room, "")),
        (RuleKind::Room, "!other:x", silent(RuleKind::Room, "")),
        (RuleKind::Sender, "@old:x", silent(RuleKind::Sender, "")),
    ] {
        ruleset.put(kind, id, rule, RulePosition::default()).unwrap();
    }
    ruleset.set_enabled(RuleKind::Room, "!old:x", false).unwrap();
    assert!(ruleset.follow_upgrade("!old:x", "!new:x").unwrap());
    let own = |kind| ruleset.own(kind).iter().map(|rule| &*rule.id).collect::<Vec<_>>();
    assert_eq!(own(RuleKind::Override), ["elsewhere", "!old:x", "!new:x", "mine", "mine in !new:x"]);
    assert_eq!(own(RuleKind::Room), ["!other:x", "!old:x", "!new:x"]);
    assert_eq!((own(RuleKind::Sender), own(RuleKind::Content)), (vec!["@old:x"], vec!["a", "b", "c"]));
    let copied = &ruleset.own(RuleKind::Override)[2];
    assert_eq!(copied.test, in_room("!new:x").test);
    assert!(!ruleset.own(RuleKind::Room)[2].enabled, "what was switched off stays so");

    let once = ruleset.clone();
    assert!(!ruleset.follow_upgrade("!old:x", "!new:x").unwrap(), "there is nothing left to copy");
    assert_eq!(ruleset, once);
}

#[test]
fn too_many_rules_are_not_copied() {
    let mut ruleset = Ruleset::default();
    for number in 0..MAX_RULES - 1 {
        put(&mut ruleset, &number.to_string(), RulePosition::default()).unwrap();
    }
    let rule = NewRule::parse(RuleKind::Room, br#"{"actions":[]}"#).unwrap();
    ruleset.put(RuleKind::Room, "!old:x", rule, RulePosition::default()).unwrap();
    let before = ruleset.clone();
    assert!(matches!(ruleset.follow_upgrade("!old:x", "!new:x"), Err(RuleError::TooMany { .. })));
    assert_eq!(ruleset, before);
}
