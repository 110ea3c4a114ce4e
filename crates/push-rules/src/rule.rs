//! A push rule, and how it is written.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::{
    Action, Condition, MAX_RULE_BYTES, RuleError, RuleKind,
    condition::{Malformed, pattern},
};

/// A [push rule](https://spec.matrix.org/v1.19/client-server-api/#push-rules).
///
/// Default rules are constants of the program: their text is borrowed, and nothing is allocated for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Its ID, which is unique among the rules of its kind.
    pub id: Cow<'static, str>,
    /// Whether it is used.
    pub enabled: bool,
    /// When it matches.
    pub test: RuleTest,
    /// What it does.
    pub actions: Cow<'static, [Action]>,
}

/// When a rule matches, by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RuleTest {
    /// When all of the conditions hold: override and underride rules.
    Conditions(Cow<'static, [Condition]>),
    /// When the body of the message has the pattern in it: content rules.
    Pattern(Cow<'static, str>),
    /// When the room or the sender has the rule's ID: room and sender rules.
    Id,
}

impl Rule {
    /// The same rule for another room, if this one is about `old` alone.
    pub(crate) fn for_room(&self, old: &str, new: &str) -> Option<Self> {
        let test = match &self.test {
            RuleTest::Id => RuleTest::Id,
            RuleTest::Pattern(_) => return None,
            RuleTest::Conditions(conditions) => {
                let mut conditions = conditions.clone().into_owned();
                let mut is_about_old = false;
                for condition in &mut conditions {
                    if let Condition::EventMatch { key, pattern } = condition
                        && key == "room_id"
                        && pattern == old
                    {
                        *pattern = Cow::Owned(new.to_owned());
                        is_about_old = true;
                    }
                }
                if !is_about_old {
                    return None;
                }
                RuleTest::Conditions(Cow::Owned(conditions))
            }
        };
        // Clients give the rule by which they mute a room the room's ID. Two rules cannot have the same.
        let id = match self.id.contains(old) {
            true => self.id.replace(old, new),
            false if matches!(test, RuleTest::Id) => return None,
            false => format!("{} in {new}", self.id),
        };
        Some(Self { id: Cow::Owned(id), test, ..self.clone() })
    }
}

/// What a client says of a rule that it adds or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    /// When it matches.
    pub test: RuleTest,
    /// What it does.
    pub actions: Vec<Action>,
}

impl NewRule {
    /// Reads the body of
    /// [`PUT /pushrules/global/{kind}/{ruleId}`](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid).
    ///
    /// # Errors
    /// When the body is not JSON, not a rule of the kind, or beyond the limits.
    pub fn parse(kind: RuleKind, body: &[u8]) -> Result<Self, RuleError> {
        if body.len() > MAX_RULE_BYTES {
            return Err(RuleError::TooMany { what: "bytes in a rule", limit: MAX_RULE_BYTES });
        }
        let members: Value =
            serde_json::from_slice(body).map_err(|error| RuleError::NotJson { reason: error.to_string() })?;
        let members = members.as_object();
        let members = members.ok_or(RuleError::Malformed { key: "rule", expected: "a JSON object" })?;
        Self::of_members(kind, members, Malformed::Refuse)
    }

    pub(crate) fn of_members(
        kind: RuleKind,
        members: &Map<String, Value>,
        malformed: Malformed,
    ) -> Result<Self, RuleError> {
        let actions = Action::parse_list(members.get("actions").unwrap_or(&Value::Null))?;
        let test = match kind {
            RuleKind::Override | RuleKind::Underride => {
                let conditions = members.get("conditions");
                let conditions =
                    conditions.map(|conditions| Condition::parse_list(conditions, malformed)).transpose()?;
                RuleTest::Conditions(Cow::Owned(conditions.unwrap_or_default()))
            }
            RuleKind::Content => RuleTest::Pattern(pattern(members)?),
            RuleKind::Room | RuleKind::Sender => RuleTest::Id,
        };
        Ok(Self { test, actions })
    }
}

/// A rule of a user as it is: a default rule with what the user changed of it, or one of the user's own.
#[derive(Debug, Clone, Copy)]
pub struct RuleView<'r> {
    /// Its kind.
    pub kind: RuleKind,
    /// Its ID.
    pub id: &'r str,
    /// Whether it is a default rule.
    pub default: bool,
    /// Whether it is used.
    pub enabled: bool,
    /// When it matches.
    pub test: &'r RuleTest,
    /// What it does.
    pub actions: &'r [Action],
}

impl<'r> RuleView<'r> {
    /// The rule as [clients see it](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid),
    /// for the user who owns it.
    pub fn json(self, user_id: &'r str) -> RuleJson<'r> {
        RuleJson { rule: self, user_id }
    }
}

/// A rule as JSON.
#[derive(Debug, Clone, Copy)]
pub struct RuleJson<'r> {
    rule: RuleView<'r>,
    user_id: &'r str,
}

impl Serialize for RuleJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("rule_id", self.rule.id)?;
        map.serialize_entry("default", &self.rule.default)?;
        map.serialize_entry("enabled", &self.rule.enabled)?;
        match self.rule.test {
            RuleTest::Conditions(conditions) => {
                let conditions: Vec<Value> = conditions.iter().map(|condition| condition.json(self.user_id)).collect();
                map.serialize_entry("conditions", &conditions)?;
            }
            RuleTest::Pattern(pattern) => map.serialize_entry("pattern", pattern)?,
            RuleTest::Id => {}
        }
        map.serialize_entry("actions", self.rule.actions)?;
        map.end()
    }
}
