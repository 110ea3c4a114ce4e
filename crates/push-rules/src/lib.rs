//! [Push rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules): which events notify whom, and how.
//!
//! # The way of a rule
//!
//! 1. [`Ruleset`] holds what a user changed of the default rules, and the user's own rules. It reads and writes JSON, and
//!    changes as clients ask.
//! 2. [`Compiler`] makes [`CompiledRules`] of it. Users with equal rules share one, and rules with equal patterns share the
//!    compiled [`Glob`].
//!
//! # The way of an event
//!
//! 1. [`PreparedEvent`] reads the event once: its properties, the words of its body, and which default rules match it.
//! 2. For one user, [`CompiledRules::evaluate`] gives the rule that matches, with its actions. For all members of a room,
//!    [`Audience::evaluate`] returns the members who are notified, in one pass that groups the members with equal rules.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use push_rules::{
//!     Compiler, NewRule, RulePosition, PreparedEvent, Recipient, RoomContext, RuleKind, Ruleset, SenderPower,
//! };
//!
//! let mut ruleset = Ruleset::default();
//! let cake = NewRule::parse(RuleKind::Content, br#"{"pattern":"cake","actions":["notify",{"set_tweak":"highlight"}]}"#)?;
//! ruleset.put(RuleKind::Content, "cake", cake, RulePosition::default())?;
//! let rules = Compiler::new(1024 * 1024).compile(&ruleset);
//!
//! let room = RoomContext {
//!     room_id: "!room:example.org",
//!     member_count: 3,
//!     sender_power: SenderPower::Level(0),
//!     notifications: &BTreeMap::new(),
//! };
//! let json = br#"{"type":"m.room.message","sender":"@bob:example.org","content":{"body":"Free CAKE!"}}"#;
//! let event = PreparedEvent::new(json, room)?;
//!
//! let alice = Recipient { user_id: "@alice:example.org", display_name: None };
//! let found = rules.evaluate(&event, &alice).expect("a rule matches");
//! assert_eq!(found.rule_id, "cake");
//! assert!(found.outcome().highlight);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod audience;
mod compiled;
mod compiler;
mod condition;
mod defaults;
mod error;
mod event;
mod fold;
mod glob;
mod kind;
mod limits;
mod member_count;
mod memory;
mod path;
mod patterns;
mod recipient;
mod rule;
mod ruleset;
mod scalar;
#[cfg(test)]
mod tests;
mod words;

pub use action::{Action, Outcome};
pub use audience::{Audience, Differences, Member, Notifications};
pub use compiled::{CompiledRules, Match};
pub use compiler::Compiler;
pub use condition::Condition;
pub use defaults::DefaultRule;
pub use error::{RuleError, RuleErrorKind};
pub use event::{NotAnEvent, PreparedEvent, RoomContext, SenderPower};
pub use glob::Glob;
pub use kind::RuleKind;
pub use limits::{
    MAX_ACTIONS, MAX_CONDITIONS, MAX_NESTING, MAX_PATTERN_BYTES, MAX_RULE_BYTES, MAX_RULE_ID_BYTES, MAX_RULES,
    MAX_RULESET_BYTES,
};
pub use member_count::{Comparison, MemberCountIs};
pub use patterns::PatternCache;
pub use recipient::{DisplayName, Recipient};
pub use rule::{NewRule, Rule, RuleJson, RuleTest, RuleView};
pub use ruleset::{RulePosition, Ruleset, RulesetJson};
pub use scalar::Scalar;
