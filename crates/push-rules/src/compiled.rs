//! A user's rules, ready to be evaluated.

use std::{cmp::Ordering, ops::ControlFlow, sync::Arc};

use crate::{
    Action, Condition, DefaultRule, Glob, MemberCountIs, Outcome, PreparedEvent, Rule, RuleKind, RuleTest, Ruleset,
    Scalar,
    defaults::DefaultRules,
    event::{Property, Value},
    patterns::PatternCache,
    recipient::{Facts, Recipient},
};

/// The rules of a user with their patterns compiled. Users with equal rules share one.
#[derive(Debug)]
pub struct CompiledRules {
    ruleset: Arc<Ruleset>,
    overrides: Box<[CompiledRule]>,
    content: Box<[CompiledRule]>,
    underrides: Box<[CompiledRule]>,
    /// The enabled room rules by index, sorted by ID.
    rooms: Box<[usize]>,
    /// The enabled sender rules by index, sorted by ID.
    senders: Box<[usize]>,
    defaults: DefaultRules,
    asks_display_name: bool,
}

/// An enabled rule that can match.
#[derive(Debug)]
struct CompiledRule {
    /// The index of the rule among the user's own of the kind.
    index: usize,
    checks: Box<[Check]>,
}

/// A condition with everything done that can be done in advance.
#[derive(Debug)]
enum Check {
    Body(Arc<Glob>),
    Matches(Property, Arc<Glob>),
    Is(Property, Scalar<'static>),
    Contains(Property, Scalar<'static>),
    DisplayName,
    MemberCount(MemberCountIs),
    SenderMay(Box<str>),
}

/// The rule that matched an event for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'r> {
    /// Its kind.
    pub kind: RuleKind,
    /// Its ID.
    pub rule_id: &'r str,
    /// What it does.
    pub actions: &'r [Action],
}

impl<'r> Match<'r> {
    /// What becomes of the event.
    pub fn outcome(&self) -> Outcome<'r> {
        Outcome::of(self.actions)
    }
}

impl CompiledRules {
    pub(crate) fn new(ruleset: Arc<Ruleset>, patterns: &PatternCache) -> Self {
        let compiled = |kind: RuleKind| -> Box<[CompiledRule]> {
            let rules = ruleset.own(kind).iter().enumerate().filter(|(_, rule)| rule.enabled);
            rules.filter_map(|(index, rule)| Some(CompiledRule { index, checks: checks(rule, patterns)? })).collect()
        };
        let sorted = |kind: RuleKind| -> Box<[usize]> {
            let rules = ruleset.own(kind);
            let enabled = rules.iter().enumerate().filter(|(_, rule)| rule.enabled).map(|(index, _)| index);
            let mut enabled: Vec<usize> = enabled.collect();
            enabled.sort_by(|one, other| {
                rules.get(*one).map(|rule| &rule.id).cmp(&rules.get(*other).map(|rule| &rule.id))
            });
            enabled.into()
        };
        let overrides = compiled(RuleKind::Override);
        let underrides = compiled(RuleKind::Underride);
        let checks = overrides.iter().chain(&underrides).flat_map(|rule| &rule.checks);
        let asks_display_name = checks.into_iter().any(|check| matches!(check, Check::DisplayName));
        Self {
            content: compiled(RuleKind::Content),
            rooms: sorted(RuleKind::Room),
            senders: sorted(RuleKind::Sender),
            defaults: ruleset.enabled_defaults(),
            asks_display_name,
            overrides,
            underrides,
            ruleset,
        }
    }

    /// The rules that were compiled.
    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// Whether it matters what the user's display name is.
    pub const fn asks_display_name(&self) -> bool {
        self.asks_display_name
    }

    /// The most important rule that matches an event for a user; none matches the user's own events.
    pub fn evaluate(&self, event: &PreparedEvent<'_>, recipient: &Recipient<'_>) -> Option<Match<'_>> {
        self.evaluate_with(event, Facts::of(self, event, recipient)?)
    }

    /// Visits all rules that match an event for a user, the most important one first.
    pub fn for_each_match<'r>(
        &'r self,
        event: &PreparedEvent<'_>,
        recipient: &Recipient<'_>,
        mut visitor: impl FnMut(Match<'r>),
    ) {
        let Some(facts) = Facts::of(self, event, recipient) else { return };
        let _ = self.visit(event, facts, |found| {
            visitor(found);
            ControlFlow::<()>::Continue(())
        });
    }

    pub(crate) fn evaluate_with(&self, event: &PreparedEvent<'_>, facts: Facts) -> Option<Match<'_>> {
        self.visit(event, facts, ControlFlow::Break).break_value()
    }

    /// Visits the rules that match, in their order.
    fn visit<'r, B>(
        &'r self,
        event: &PreparedEvent<'_>,
        facts: Facts,
        mut visitor: impl FnMut(Match<'r>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let defaults = facts.matching(event.defaults()).and(self.defaults);
        if defaults.has(DefaultRule::MASTER) {
            visitor(self.default_match(DefaultRule::MASTER))?;
        }
        self.visit_compiled(RuleKind::Override, &self.overrides, event, facts, &mut visitor)?;
        for default in defaults.and(DefaultRules::OVERRIDES).without(DefaultRule::MASTER) {
            visitor(self.default_match(default))?;
        }
        self.visit_compiled(RuleKind::Content, &self.content, event, facts, &mut visitor)?;
        if let Some(found) = self.with_id(RuleKind::Room, &self.rooms, Some(event.room().room_id)) {
            visitor(found)?;
        }
        if let Some(found) = self.with_id(RuleKind::Sender, &self.senders, event.sender()) {
            visitor(found)?;
        }
        self.visit_compiled(RuleKind::Underride, &self.underrides, event, facts, &mut visitor)?;
        for default in defaults.and(DefaultRules::UNDERRIDES) {
            visitor(self.default_match(default))?;
        }
        ControlFlow::Continue(())
    }

    fn visit_compiled<'r, B>(
        &'r self,
        kind: RuleKind,
        rules: &[CompiledRule],
        event: &PreparedEvent<'_>,
        facts: Facts,
        visitor: &mut impl FnMut(Match<'r>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        for rule in rules {
            if rule.checks.iter().all(|check| check.holds(event, facts))
                && let Some(rule) = self.ruleset.own(kind).get(rule.index)
            {
                visitor(own_match(kind, rule))?;
            }
        }
        ControlFlow::Continue(())
    }

    fn default_match(&self, default: DefaultRule) -> Match<'_> {
        let rule = self.ruleset.default_view(default);
        Match { kind: rule.kind, rule_id: rule.id, actions: rule.actions }
    }

    /// The enabled rule of that ID.
    fn with_id(&self, kind: RuleKind, sorted: &[usize], id: Option<&str>) -> Option<Match<'_>> {
        if sorted.is_empty() {
            return None;
        }
        let (rules, id) = (self.ruleset.own(kind), id?);
        let place = sorted
            .binary_search_by(|index| rules.get(*index).map_or(Ordering::Less, |rule| rule.id.as_ref().cmp(id)))
            .ok()?;
        let rule = sorted.get(place).and_then(|index| rules.get(*index))?;
        Some(own_match(kind, rule))
    }
}

fn own_match(kind: RuleKind, rule: &Rule) -> Match<'_> {
    Match { kind, rule_id: &rule.id, actions: &rule.actions }
}

/// The checks of a rule; `None` if it never matches.
fn checks(rule: &Rule, patterns: &PatternCache) -> Option<Box<[Check]>> {
    match &rule.test {
        RuleTest::Conditions(conditions) => conditions.iter().map(|condition| check(condition, patterns)).collect(),
        RuleTest::Pattern(pattern) => Some(Box::new([Check::Body(patterns.glob(pattern))])),
        RuleTest::Id => None,
    }
}

/// The check of a condition; `None` if it never holds.
fn check(condition: &Condition, patterns: &PatternCache) -> Option<Check> {
    match condition {
        Condition::EventMatch { key, pattern } => Some(match Property::of_path(key) {
            Property::Body => Check::Body(patterns.glob(pattern)),
            property => Check::Matches(property, patterns.glob(pattern)),
        }),
        Condition::EventPropertyIs { key, value } => Some(Check::Is(Property::of_path(key), value.clone())),
        Condition::EventPropertyContains { key, value } => Some(Check::Contains(Property::of_path(key), value.clone())),
        Condition::ContainsDisplayName => Some(Check::DisplayName),
        Condition::RoomMemberCount(is) => Some(Check::MemberCount(*is)),
        Condition::SenderNotificationPermission { key } => Some(Check::SenderMay(key.as_ref().into())),
        Condition::EventMatchOwnId { .. } | Condition::EventPropertyContainsOwnId { .. } | Condition::Unknown(_) => {
            None
        }
    }
}

impl Check {
    fn holds(&self, event: &PreparedEvent<'_>, facts: Facts) -> bool {
        match self {
            Self::Body(glob) => event.body().is_some_and(|body| glob.is_in(body)),
            Self::Matches(property, glob) => {
                let text = event.property(property).and_then(Value::as_folded);
                text.is_some_and(|text| glob.matches_folded(text))
            }
            Self::Is(property, value) => event.property(property).is_some_and(|found| found.is(value)),
            Self::Contains(property, value) => event.property(property).is_some_and(|found| found.contains(value)),
            Self::DisplayName => facts.named(),
            Self::MemberCount(is) => is.holds(event.room().member_count),
            Self::SenderMay(key) => event.sender_may_notify(key),
        }
    }
}
