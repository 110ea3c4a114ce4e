//! Changing rules by requests of clients.

use std::borrow::Cow;

use super::{ChangedDefault, Ruleset};
use crate::{Action, DefaultRule, MAX_RULE_ID_BYTES, MAX_RULES, MAX_RULESET_BYTES, NewRule, Rule, RuleError, RuleKind};

/// The position of a rule among the user's own rules of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RulePosition<'i> {
    /// Directly above the rule of this ID. It wins over `after`.
    pub before: Option<&'i str>,
    /// Directly below the rule of this ID.
    pub after: Option<&'i str>,
}

impl Ruleset {
    /// Adds a rule, or replaces the one of that ID:
    /// [`PUT /pushrules/global/{kind}/{ruleId}`](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid).
    ///
    /// A new rule is enabled and, without a place, the most important one of its kind; a rule that is replaced stays enabled
    /// or disabled and, without a place, where it is.
    ///
    /// # Errors
    /// When the ID is not one of a user's rule, the place does not exist, or the user has too many rules.
    pub fn put(&mut self, kind: RuleKind, id: &str, new: NewRule, place: RulePosition<'_>) -> Result<(), RuleError> {
        check_id(id)?;
        self.change(|changed| changed.put_unchecked(kind, id, new, place))
    }

    fn put_unchecked(
        &mut self,
        kind: RuleKind,
        id: &str,
        new: NewRule,
        place: RulePosition<'_>,
    ) -> Result<(), RuleError> {
        let old = self.own(kind).iter().position(|rule| rule.id == id);
        let index = self.index_of(kind, place)?;
        let rules = self.own_mut(kind);
        let enabled = old.and_then(|old| rules.get(old)).is_none_or(|rule| rule.enabled);
        let rule = Rule { id: Cow::Owned(id.to_owned()), enabled, test: new.test, actions: Cow::Owned(new.actions) };
        match (old, index) {
            (None, index) => rules.insert(index.unwrap_or(0).min(rules.len()), rule),
            (Some(old), None) => {
                if let Some(slot) = rules.get_mut(old) {
                    *slot = rule;
                }
            }
            (Some(old), Some(index)) => {
                rules.remove(old);
                let index = if old < index { index - 1 } else { index };
                rules.insert(index.min(rules.len()), rule);
            }
        }
        Ok(())
    }

    /// Deletes one of the user's own rules:
    /// [`DELETE /pushrules/global/{kind}/{ruleId}`](https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid).
    ///
    /// # Errors
    /// When there is no such rule, or it is a default rule.
    pub fn remove(&mut self, kind: RuleKind, id: &str) -> Result<(), RuleError> {
        if DefaultRule::find(kind, id).is_some() {
            return Err(RuleError::DefaultRule { id: id.to_owned() });
        }
        let rules = self.own_mut(kind);
        let index = rules.iter().position(|rule| rule.id == id).ok_or_else(|| unknown(kind, id))?;
        rules.remove(index);
        Ok(())
    }

    /// Enables or disables a rule:
    /// [`PUT /pushrules/global/{kind}/{ruleId}/enabled`](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled).
    ///
    /// # Errors
    /// When there is no such rule.
    pub fn set_enabled(&mut self, kind: RuleKind, id: &str, enabled: bool) -> Result<(), RuleError> {
        if let Some(default) = DefaultRule::find(kind, id) {
            self.change_default(default, |changed| changed.enabled = enabled);
            return Ok(());
        }
        self.own_rule_mut(kind, id)?.enabled = enabled;
        Ok(())
    }

    /// Sets what a rule does:
    /// [`PUT /pushrules/global/{kind}/{ruleId}/actions`](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions).
    ///
    /// # Errors
    /// When there is no such rule, or the actions are too large.
    pub fn set_actions(&mut self, kind: RuleKind, id: &str, actions: Vec<Action>) -> Result<(), RuleError> {
        self.change(|changed| changed.set_actions_unchecked(kind, id, actions))
    }

    fn set_actions_unchecked(&mut self, kind: RuleKind, id: &str, actions: Vec<Action>) -> Result<(), RuleError> {
        if let Some(default) = DefaultRule::find(kind, id) {
            self.change_default(default, |changed| changed.actions = Some(actions));
            return Ok(());
        }
        self.own_rule_mut(kind, id)?.actions = Cow::Owned(actions);
        Ok(())
    }

    /// Has what the user said of a room hold for the room that replaces it, too: rules with the room's ID, and those with a
    /// condition that the event is in the room. Each gets a copy below it, unless the user has a rule of the copy's ID. Returns
    /// whether there was anything to copy.
    ///
    /// # Errors
    /// When the user would have too many rules; nothing has changed then.
    pub fn follow_upgrade(&mut self, old_room_id: &str, new_room_id: &str) -> Result<bool, RuleError> {
        let before = self.own_rules();
        self.change(|changed| {
            for kind in [RuleKind::Override, RuleKind::Room, RuleKind::Underride] {
                let rules = changed.own_mut(kind);
                let copies = rules.iter().enumerate();
                let copies = copies.filter_map(|(index, rule)| Some((index, rule.for_room(old_room_id, new_room_id)?)));
                for (index, copy) in copies.collect::<Vec<_>>().into_iter().rev() {
                    if rules.iter().all(|rule| rule.id != copy.id) {
                        rules.insert(index + 1, copy);
                    }
                }
            }
            Ok(())
        })?;
        Ok(self.own_rules() > before)
    }

    /// Changes the rules, or leaves them as they are where the change fails or is beyond the limits.
    fn change(&mut self, change: impl FnOnce(&mut Self) -> Result<(), RuleError>) -> Result<(), RuleError> {
        let mut changed = self.clone();
        change(&mut changed)?;
        changed.check_limits()?;
        *self = changed;
        Ok(())
    }

    /// Whether the rules can be stored and read again.
    pub(super) fn check_limits(&self) -> Result<(), RuleError> {
        if self.own_rules() > MAX_RULES {
            return Err(RuleError::TooMany { what: "rules for a user", limit: MAX_RULES });
        }
        if self.json_bytes() > MAX_RULESET_BYTES {
            return Err(RuleError::TooMany { what: "bytes for a user", limit: MAX_RULESET_BYTES });
        }
        Ok(())
    }

    fn own_rule_mut(&mut self, kind: RuleKind, id: &str) -> Result<&mut Rule, RuleError> {
        self.own_mut(kind).iter_mut().find(|rule| rule.id == id).ok_or_else(|| unknown(kind, id))
    }

    /// Changes a default rule, and keeps the change only if it is one.
    pub(super) fn change_default(&mut self, default: DefaultRule, change: impl FnOnce(&mut ChangedDefault)) {
        let rule = default.rule();
        let place = self.changed.binary_search_by_key(&default, |changed| changed.default);
        let mut changed = match place {
            Ok(place) => self.changed.remove(place),
            Err(_) => ChangedDefault { default, enabled: rule.enabled, actions: None },
        };
        change(&mut changed);
        changed.actions = changed.actions.filter(|actions| *actions != *rule.actions);
        if changed.enabled != rule.enabled || changed.actions.is_some() {
            self.changed.insert(place.unwrap_or_else(|place| place).min(self.changed.len()), changed);
        }
    }

    /// The index among the user's own rules of a kind that a place is.
    fn index_of(&self, kind: RuleKind, place: RulePosition<'_>) -> Result<Option<usize>, RuleError> {
        let find = |id: &str| {
            if id.starts_with('.') {
                return Err(RuleError::DefaultNeighbour { id: id.to_owned() });
            }
            let index = self.own(kind).iter().position(|rule| rule.id == id);
            index.ok_or_else(|| RuleError::UnknownNeighbour { id: id.to_owned() })
        };
        let before = place.before.map(find).transpose()?;
        let after = place.after.map(find).transpose()?;
        Ok(before.or_else(|| after.map(|after| after + 1)))
    }
}

fn check_id(id: &str) -> Result<(), RuleError> {
    if id.starts_with('.') {
        return Err(RuleError::ReservedId { id: id.to_owned() });
    }
    if id.is_empty() || id.len() > MAX_RULE_ID_BYTES || id.contains(['/', '\\']) {
        return Err(RuleError::InvalidId);
    }
    Ok(())
}

fn unknown(kind: RuleKind, id: &str) -> RuleError {
    RuleError::UnknownRule { kind, id: id.to_owned() }
}
