//! Sharing of compiled rules and patterns.

use std::sync::Arc;

use serde_json::json;

use super::world::with_rule;
use crate::{Compiler, MAX_PATTERN_BYTES, PatternCache, RuleKind, RulePosition, Ruleset};

#[test]
fn users_with_equal_rules_share_them() {
    let compiler = Compiler::new(1024 * 1024);
    let rules = || with_rule(RuleKind::Content, "x", &json!({ "pattern": "cake", "actions": ["notify"] }));
    assert!(Arc::ptr_eq(&compiler.compile(&rules()), &compiler.compile(&rules())));
    let other = with_rule(RuleKind::Content, "x", &json!({ "pattern": "pie", "actions": ["notify"] }));
    assert!(!Arc::ptr_eq(&compiler.compile(&rules()), &compiler.compile(&other)));
}

#[test]
fn a_change_that_is_undone_gives_the_default_rules_again() {
    let compiler = Compiler::new(1024 * 1024);
    let mut ruleset = Ruleset::default();
    ruleset.set_enabled(RuleKind::Override, ".m.rule.master", true).unwrap();
    assert!(!Arc::ptr_eq(&compiler.compile(&ruleset), &compiler.compile(&Ruleset::default())));
    ruleset.set_enabled(RuleKind::Override, ".m.rule.master", false).unwrap();
    ruleset.set_actions(RuleKind::Underride, ".m.rule.call", Vec::new()).unwrap();
    let actions = Ruleset::default().rule(RuleKind::Underride, ".m.rule.call").unwrap().actions.to_vec();
    ruleset.set_actions(RuleKind::Underride, ".m.rule.call", actions).unwrap();
    assert!(Arc::ptr_eq(&compiler.compile(&ruleset), &compiler.compile(&Ruleset::default())));
}

#[test]
fn a_pattern_is_compiled_once() {
    let patterns = PatternCache::new(64 * 1024);
    assert!(Arc::ptr_eq(&patterns.glob("cake*"), &patterns.glob("cake*")));
    assert!(!Arc::ptr_eq(&patterns.glob("cake*"), &patterns.glob("pie*")));
}

#[test]
fn what_is_remembered_is_bounded() {
    let compiler = Compiler::new(64 * 1024);
    let first = with_rule(RuleKind::Content, "x", &json!({ "pattern": "0", "actions": [] }));
    let compiled = compiler.compile(&first);
    for number in 0..200 {
        let pattern = format!("{number}{}", "x".repeat(MAX_PATTERN_BYTES - 4));
        let mut ruleset = Ruleset::default();
        let rule = json!({ "pattern": pattern, "actions": [] }).to_string();
        let rule = crate::NewRule::parse(RuleKind::Content, rule.as_bytes()).unwrap();
        ruleset.put(RuleKind::Content, "x", rule, RulePosition::default()).unwrap();
        compiler.compile(&ruleset);
    }
    assert!(!Arc::ptr_eq(&compiled, &compiler.compile(&first)), "nothing was forgotten");
}
