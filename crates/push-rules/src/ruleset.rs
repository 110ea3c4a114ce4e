//! The rules of a user.

mod change;
mod json;
#[cfg(test)]
mod tests;

use crate::{
    Action, DefaultRule, Rule, RuleKind, RuleView,
    defaults::{DefaultRules, default_rules},
};

pub use change::RulePosition;
pub use json::RulesetJson;

/// The [push rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules) of a user: the default rules with what the
/// user changed of them, and the user's own rules, from the most important one on.
///
/// Unchanged default rules take no memory, and sets with the same rules are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Ruleset {
    overrides: Vec<Rule>,
    content: Vec<Rule>,
    room: Vec<Rule>,
    sender: Vec<Rule>,
    underrides: Vec<Rule>,
    /// Default rules that are not as the specification has them, in their order.
    changed: Vec<ChangedDefault>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ChangedDefault {
    default: DefaultRule,
    enabled: bool,
    /// `None` for those of the specification.
    actions: Option<Vec<Action>>,
}

impl Ruleset {
    /// Whether the user has the default rules and nothing else.
    pub fn is_default(&self) -> bool {
        self.changed.is_empty() && self.own_rules() == 0
    }

    /// The number of the user's own rules.
    pub fn own_rules(&self) -> usize {
        RuleKind::ALL.into_iter().map(|kind| self.own(kind).len()).sum()
    }

    /// The user's own rules of a kind, from the most important one on.
    pub fn own(&self, kind: RuleKind) -> &[Rule] {
        match kind {
            RuleKind::Override => &self.overrides,
            RuleKind::Content => &self.content,
            RuleKind::Room => &self.room,
            RuleKind::Sender => &self.sender,
            RuleKind::Underride => &self.underrides,
        }
    }

    fn own_mut(&mut self, kind: RuleKind) -> &mut Vec<Rule> {
        match kind {
            RuleKind::Override => &mut self.overrides,
            RuleKind::Content => &mut self.content,
            RuleKind::Room => &mut self.room,
            RuleKind::Sender => &mut self.sender,
            RuleKind::Underride => &mut self.underrides,
        }
    }

    /// All rules of a kind in the order in which they are checked: the user's own, then the default ones, but
    /// `.m.rule.master` before all.
    pub fn rules(&self, kind: RuleKind) -> impl Iterator<Item = RuleView<'_>> {
        let defaults = default_rules(kind).map(|default| self.default_view(default));
        let master = (kind == RuleKind::Override).then(|| self.default_view(DefaultRule::MASTER));
        let own = self.own(kind).iter().map(move |rule| own_view(kind, rule));
        master.into_iter().chain(own).chain(defaults.skip(usize::from(kind == RuleKind::Override)))
    }

    /// The rule of that kind and ID.
    pub fn rule(&self, kind: RuleKind, id: &str) -> Option<RuleView<'_>> {
        if let Some(default) = DefaultRule::find(kind, id) {
            return Some(self.default_view(default));
        }
        self.own(kind).iter().find(|rule| rule.id == id).map(|rule| own_view(kind, rule))
    }

    fn change_of(&self, default: DefaultRule) -> Option<&ChangedDefault> {
        self.changed.iter().find(|changed| changed.default == default)
    }

    pub(crate) fn default_view(&self, default: DefaultRule) -> RuleView<'_> {
        let rule = default.rule();
        let change = self.change_of(default);
        RuleView {
            kind: default.kind(),
            id: &rule.id,
            default: true,
            enabled: change.map_or(rule.enabled, |change| change.enabled),
            test: &rule.test,
            actions: change.and_then(|change| change.actions.as_deref()).unwrap_or(&rule.actions),
        }
    }

    /// The default rules that are enabled.
    pub(crate) fn enabled_defaults(&self) -> DefaultRules {
        self.changed.iter().fold(DefaultRules::ENABLED, |enabled, changed| {
            if changed.enabled { enabled.with(changed.default) } else { enabled.without(changed.default) }
        })
    }
}

fn own_view(kind: RuleKind, rule: &Rule) -> RuleView<'_> {
    RuleView { kind, id: &rule.id, default: false, enabled: rule.enabled, test: &rule.test, actions: &rule.actions }
}
