use std::{collections::BTreeMap, sync::Arc};

use homeserver_core::UserSn;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::{
    Compiler, RuleKind, Ruleset,
    tests::{
        generated::{NAMES, USERS, events, rulesets, worlds},
        world::{World, message, with_rule},
    },
};

type Answer = BTreeMap<i64, (bool, Option<String>)>;

struct Known {
    user_id: String,
    display_name: Option<&'static str>,
    rules: Arc<CompiledRules>,
}

impl Known {
    fn member(&self, user: UserSn) -> Member<'_> {
        Member { user, user_id: &self.user_id, display_name: self.display_name, rules: Arc::clone(&self.rules) }
    }
}

fn in_one_pass(audience: &Audience, event: &PreparedEvent<'_>) -> Answer {
    let notifications = audience.evaluate(event);
    let answer: Answer = notifications
        .iter()
        .map(|(user, outcome)| {
            assert!(outcome.notify);
            (user.0, (outcome.highlight, outcome.sound.map(str::to_owned)))
        })
        .collect();
    assert_eq!(answer.len(), notifications.len(), "somebody is there twice");
    answer
}

fn one_by_one(known: &BTreeMap<i64, Known>, event: &PreparedEvent<'_>) -> Answer {
    let evaluated = known.iter().filter_map(|(user, known)| {
        let name = known.display_name.and_then(DisplayName::new);
        let recipient = Recipient { user_id: &known.user_id, display_name: name.as_ref() };
        let outcome = known.rules.evaluate(event, &recipient)?.outcome();
        outcome.notify.then(|| (*user, (outcome.highlight, outcome.sound.map(str::to_owned))))
    });
    evaluated.collect()
}

/// What the event is to each member but its sender, one by one: whether it notifies, and whether it highlights then.
fn counted(known: &BTreeMap<i64, Known>, event: &PreparedEvent<'_>) -> BTreeMap<i64, (bool, bool)> {
    let evaluated = one_by_one(known, event);
    let outcome = |user: &i64| evaluated.get(user).map_or((false, false), |(highlight, _)| (true, *highlight));
    let others = known.iter().filter(|(_, known)| Some(&*known.user_id) != event.sender());
    others.map(|(user, _)| (*user, outcome(user))).collect()
}

/// The same, from what differs.
fn by_differences(
    audience: &Audience,
    known: &BTreeMap<i64, Known>,
    event: &PreparedEvent<'_>,
    usual: &CompiledRules,
) -> BTreeMap<i64, (bool, bool)> {
    let counted = |outcome: &Outcome<'_>| (outcome.notify, outcome.notify && outcome.highlight);
    let found = audience.differences(event, usual);
    let others = known.iter().filter(|(_, known)| Some(&*known.user_id) != event.sender());
    let mut all: BTreeMap<i64, (bool, bool)> = others.map(|(user, _)| (*user, counted(&found.usual))).collect();
    for (user, outcome) in &found.members {
        assert_ne!(counted(outcome), counted(&found.usual), "{user} is no exception");
        assert!(all.insert(user.0, counted(outcome)).is_some(), "{user} is the sender, or not there");
    }
    all
}

/// The users of the generated events, and some others.
fn user_id(user: i64) -> String {
    let named = usize::try_from(user).ok().and_then(|user| USERS.get(user));
    named.map_or_else(|| format!("@user{user}:example.org"), |user| (*user).to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Members come, change their rules and names, and go; each event has the same answer in one pass as one by one.
    #[test]
    fn one_pass_finds_what_evaluating_one_by_one_finds(
        rulesets in vec(rulesets(), 1..4),
        steps in vec((0..12_i64, any::<prop::sample::Index>(), prop::option::of(0..NAMES.len()), 0..4_u8), 1..40),
        events in vec(events(), 1..6),
        world in worlds(),
    ) {
        let compiler = Compiler::new(1024 * 1024);
        let rulesets: Vec<Arc<CompiledRules>> =
            rulesets.iter().chain([&Ruleset::default()]).map(|ruleset| compiler.compile(ruleset)).collect();
        let mut known = BTreeMap::new();
        let mut audience = Audience::new();
        for (user, rules, name, action) in steps {
            if action == 0 {
                known.remove(&user);
                audience.remove(&user_id(user));
            } else {
                let rules = Arc::clone(&rulesets[rules.index(rulesets.len())]);
                let member = Known { user_id: user_id(user), display_name: name.map(|name| NAMES[name]), rules };
                audience.insert(member.member(UserSn(user)));
                known.insert(user, member);
            }
            prop_assert_eq!(audience.len(), known.len());
        }
        for event in events {
            let json = event.to_string();
            let event = PreparedEvent::new(json.as_bytes(), world.context()).unwrap();
            prop_assert_eq!(in_one_pass(&audience, &event), one_by_one(&known, &event));
            let usual = compiler.compile(&Ruleset::default());
            prop_assert_eq!(by_differences(&audience, &known, &event, &usual), counted(&known, &event));
        }
    }
}

fn of_default_rules(members: i64) -> Audience {
    let rules = Compiler::new(1024).compile(&Ruleset::default());
    let mut audience = Audience::new();
    for user in 0..members {
        let rules = Arc::clone(&rules);
        audience.insert(Member { user: UserSn(user), user_id: &user_id(user), display_name: None, rules });
    }
    audience
}

fn answer(audience: &Audience, event: &Value) -> Answer {
    let json = event.to_string();
    let world = World { member_count: 100, ..World::default() };
    in_one_pass(audience, &PreparedEvent::new(json.as_bytes(), world.context()).unwrap())
}

#[test]
fn a_message_notifies_everybody_but_its_sender() {
    let answer = answer(&of_default_rules(100), &message("hello"));
    assert_eq!(answer.len(), 99);
    assert!(!answer.contains_key(&1), "Bob sent it");
}

#[test]
fn a_mention_highlights_for_the_mentioned_alone() {
    let mut event = message("hello");
    event["content"]["m.mentions"] =
        json!({ "user_ids": [USERS[2], USERS[2], "@user50:example.org", USERS[1], "@nobody:x"] });
    let answer = answer(&of_default_rules(100), &event);
    let highlighted: Vec<i64> = answer.iter().filter(|(_, (highlight, _))| *highlight).map(|(user, _)| *user).collect();
    assert_eq!(highlighted, [2, 50]);
    assert_eq!(answer.len(), 99);
}

#[test]
fn members_with_names_in_the_body_are_found_by_their_words() {
    let condition = json!({ "kind": "contains_display_name" });
    let rule = json!({ "conditions": [condition], "actions": ["notify", { "set_tweak": "highlight" }] });
    let compiler = Compiler::new(1024 * 1024);
    let rules = compiler.compile(&with_rule(RuleKind::Override, "name", &rule));
    let mut audience = of_default_rules(100);
    for (user, name) in (10..).zip(NAMES) {
        let (user_id, rules) = (user_id(user), Arc::clone(&rules));
        audience.insert(Member { user: UserSn(user), user_id: &user_id, display_name: Some(name), rules });
    }
    let highlighted = |body: &str| -> Vec<i64> {
        let answer = answer(&audience, &message(body));
        assert_eq!(answer.len(), 99);
        answer.into_iter().filter(|(_, (highlight, _))| *highlight).map(|(user, _)| user).collect()
    };
    assert_eq!(highlighted("BOB and carol-1"), [11, 12]);
    assert_eq!(highlighted("alice"), [0_i64; 0]);
    assert_eq!(highlighted("日本 alice in wonderland"), [10, 13]);
}
