//! Rules as JSON: for clients, and in the database.

use std::io;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::Ruleset;
use crate::{
    Action, DefaultRule, MAX_RULE_ID_BYTES, MAX_RULESET_BYTES, NewRule, Rule, RuleError, RuleKind, RuleView,
    condition::Malformed,
};

impl Ruleset {
    /// Reads rules: the `global` of
    /// [`m.push_rules`](https://spec.matrix.org/v1.19/client-server-api/#mpush_rules), as clients see it or as it is stored.
    ///
    /// Of default rules only `enabled` and `actions` are read, and those that are no default rules any more are left out.
    /// Conditions with wrong parameters are kept; they never match.
    ///
    /// # Errors
    /// When the text is not JSON, not rules, or beyond the limits.
    pub fn parse(json: &[u8]) -> Result<Self, RuleError> {
        if json.len() > MAX_RULESET_BYTES {
            return Err(RuleError::TooMany { what: "bytes for a user", limit: MAX_RULESET_BYTES });
        }
        let value: Value =
            serde_json::from_slice(json).map_err(|error| RuleError::NotJson { reason: error.to_string() })?;
        Self::of_value(&value)
    }

    fn of_value(value: &Value) -> Result<Self, RuleError> {
        let kinds = value.as_object().ok_or(RuleError::Malformed { key: "global", expected: "a JSON object" })?;
        let mut ruleset = Self::default();
        for kind in RuleKind::ALL {
            let Some(rules) = kinds.get(kind.as_str()) else { continue };
            let malformed = RuleError::Malformed { key: "global", expected: "arrays of rules by kind" };
            for rule in rules.as_array().ok_or_else(|| malformed.clone())? {
                ruleset.read_rule(kind, rule.as_object().ok_or_else(|| malformed.clone())?)?;
            }
        }
        ruleset.check_limits()?;
        for kind in RuleKind::ALL {
            let mut ids: Vec<&str> = ruleset.own(kind).iter().map(|rule| rule.id.as_ref()).collect();
            ids.sort_unstable();
            if !ids.is_sorted_by(|one, next| one < next) {
                return Err(RuleError::Malformed { key: "rule_id", expected: "another one for each rule of a kind" });
            }
        }
        Ok(ruleset)
    }

    fn read_rule(&mut self, kind: RuleKind, members: &Map<String, Value>) -> Result<(), RuleError> {
        let id = members.get("rule_id").and_then(Value::as_str).filter(|id| id.len() <= MAX_RULE_ID_BYTES);
        let id = id.ok_or(RuleError::Malformed { key: "rule_id", expected: "a string of at most 255 bytes" })?;
        let enabled = members.get("enabled").map_or(Some(true), Value::as_bool);
        let enabled = enabled.ok_or(RuleError::Malformed { key: "enabled", expected: "a boolean" })?;
        if id.starts_with('.') {
            if let Some(default) = DefaultRule::find(kind, id) {
                let actions = members.get("actions").map(Action::parse_list).transpose()?;
                self.change_default(default, |changed| {
                    changed.enabled = enabled;
                    changed.actions = actions;
                });
            }
            return Ok(());
        }
        let NewRule { test, actions } = NewRule::of_members(kind, members, Malformed::Keep)?;
        self.own_mut(kind).push(Rule { id: id.to_owned().into(), enabled, test, actions: actions.into() });
        Ok(())
    }

    /// All rules as [clients see them](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal),
    /// for the user who owns them.
    pub const fn for_client<'r>(&'r self, user_id: &'r str) -> RulesetJson<'r> {
        RulesetJson { ruleset: self, user_id: Some(user_id) }
    }

    /// The rules that differ from the default ones, to be stored.
    pub const fn for_storage(&self) -> RulesetJson<'_> {
        RulesetJson { ruleset: self, user_id: None }
    }

    /// The bytes of the rules as they are stored.
    pub fn json_bytes(&self) -> usize {
        let mut counter = Counter(0);
        // Counting cannot fail, and neither can making JSON of rules.
        let _ = serde_json::to_writer(&mut counter, &self.for_storage());
        counter.0
    }

    fn is_changed(&self, rule: &RuleView<'_>) -> bool {
        !rule.default || DefaultRule::find(rule.kind, rule.id).is_some_and(|rule| self.change_of(rule).is_some())
    }
}

/// Rules as JSON: the value of `global`.
#[derive(Debug, Clone, Copy)]
pub struct RulesetJson<'r> {
    ruleset: &'r Ruleset,
    /// The owner; `None` where only what differs from the default rules is wanted.
    user_id: Option<&'r str>,
}

impl Serialize for RulesetJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(RuleKind::ALL.len()))?;
        for kind in RuleKind::ALL {
            map.serialize_entry(kind.as_str(), &Kind { json: *self, kind })?;
        }
        map.end()
    }
}

struct Kind<'r> {
    json: RulesetJson<'r>,
    kind: RuleKind,
}

impl Serialize for Kind<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let RulesetJson { ruleset, user_id } = self.json;
        let rules = ruleset.rules(self.kind).filter(|rule| user_id.is_some() || ruleset.is_changed(rule));
        serializer.collect_seq(rules.map(|rule| rule.json(user_id.unwrap_or_default())))
    }
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
