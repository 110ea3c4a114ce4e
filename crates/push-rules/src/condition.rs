//! The conditions of a rule.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::{MAX_CONDITIONS, MAX_PATTERN_BYTES, MemberCountIs, RuleError, Scalar};

/// A [condition](https://spec.matrix.org/v1.19/client-server-api/#conditions-1) of a rule.
///
/// Keys are [dot-separated paths](https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths), patterns
/// [globs](https://spec.matrix.org/v1.19/appendices/#glob-style-matching).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Condition {
    /// `event_match`: a glob on a property. `content.body` is searched for it word by word.
    EventMatch {
        /// The path of the property.
        key: Cow<'static, str>,
        /// The glob.
        pattern: Cow<'static, str>,
    },
    /// `event_match` with the user's own ID as pattern. Only default rules have it; clients see the ID. IDs are compared as
    /// they are: an old ID with capital letters is not that of the user who has it without.
    EventMatchOwnId {
        /// The path of the property.
        key: Cow<'static, str>,
    },
    /// `event_property_is`: a property has exactly this value.
    EventPropertyIs {
        /// The path of the property.
        key: Cow<'static, str>,
        /// The value.
        value: Scalar<'static>,
    },
    /// `event_property_contains`: an array has exactly this value among its elements.
    EventPropertyContains {
        /// The path of the property.
        key: Cow<'static, str>,
        /// The value.
        value: Scalar<'static>,
    },
    /// `event_property_contains` with the user's own ID as value. Only default rules have it; clients see the ID.
    EventPropertyContainsOwnId {
        /// The path of the property.
        key: Cow<'static, str>,
    },
    /// `contains_display_name`: the body of the message has the user's display name in it. Deprecated.
    ContainsDisplayName,
    /// `room_member_count`: how many members the room has.
    RoomMemberCount(MemberCountIs),
    /// `sender_notification_permission`: the sender has the power level to notify in this way.
    SenderNotificationPermission {
        /// The key in the `notifications` of the room's power levels.
        key: Cow<'static, str>,
    },
    /// An unknown condition. It never matches, and is written back unchanged.
    Unknown(Value),
}

/// The treatment of a known condition with wrong parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It is refused, because a client sets the rule.
    Refuse,
    /// It is kept and never matches, because the rule is stored.
    Keep,
}

impl Condition {
    /// Reads the `conditions` of a rule.
    pub(crate) fn parse_list(value: &Value, malformed: Malformed) -> Result<Vec<Self>, RuleError> {
        let wrong = RuleError::Malformed { key: "conditions", expected: "an array of objects with a `kind`" };
        let list = value.as_array().ok_or_else(|| wrong.clone())?;
        if list.len() > MAX_CONDITIONS {
            return Err(RuleError::TooMany { what: "conditions in a rule", limit: MAX_CONDITIONS });
        }
        list.iter().map(|condition| Self::parse(condition, malformed)).collect()
    }

    fn parse(value: &Value, malformed: Malformed) -> Result<Self, RuleError> {
        let members = value.as_object();
        let kind = members.and_then(|members| members.get("kind")).and_then(Value::as_str);
        let (Some(members), Some(kind)) = (members, kind) else {
            return Err(RuleError::Malformed { key: "conditions", expected: "an array of objects with a `kind`" });
        };
        match Self::known(kind, members) {
            Some(Ok(condition)) => Ok(condition),
            Some(Err(error)) if malformed == Malformed::Refuse => Err(error),
            _ => Ok(Self::Unknown(value.clone())),
        }
    }

    fn known(kind: &str, members: &Map<String, Value>) -> Option<Result<Self, RuleError>> {
        Some(match kind {
            "event_match" => {
                text(members, "key").and_then(|key| Ok(Self::EventMatch { key, pattern: pattern(members)? }))
            }
            "event_property_is" => {
                text(members, "key").and_then(|key| Ok(Self::EventPropertyIs { key, value: scalar(members)? }))
            }
            "event_property_contains" => {
                text(members, "key").and_then(|key| Ok(Self::EventPropertyContains { key, value: scalar(members)? }))
            }
            "contains_display_name" => Ok(Self::ContainsDisplayName),
            "room_member_count" => text(members, "is").and_then(|is| {
                let expected = "a decimal integer, with or without one of `==`, `<`, `>`, `<=` and `>=` in front";
                MemberCountIs::parse(&is)
                    .map(Self::RoomMemberCount)
                    .ok_or(RuleError::Malformed { key: "conditions.is", expected })
            }),
            "sender_notification_permission" => {
                text(members, "key").map(|key| Self::SenderNotificationPermission { key })
            }
            _ => return None,
        })
    }

    /// The condition as JSON, for the user who owns it.
    pub(crate) fn json(&self, user_id: &str) -> Value {
        match self {
            Self::EventMatch { key, pattern } => json!({ "kind": "event_match", "key": key, "pattern": pattern }),
            Self::EventMatchOwnId { key } => json!({ "kind": "event_match", "key": key, "pattern": user_id }),
            Self::EventPropertyIs { key, value } => json!({ "kind": "event_property_is", "key": key, "value": value }),
            Self::EventPropertyContains { key, value } => {
                json!({ "kind": "event_property_contains", "key": key, "value": value })
            }
            Self::EventPropertyContainsOwnId { key } => {
                json!({ "kind": "event_property_contains", "key": key, "value": user_id })
            }
            Self::ContainsDisplayName => json!({ "kind": "contains_display_name" }),
            Self::RoomMemberCount(is) => json!({ "kind": "room_member_count", "is": is.to_string() }),
            Self::SenderNotificationPermission { key } => {
                json!({ "kind": "sender_notification_permission", "key": key })
            }
            Self::Unknown(value) => value.clone(),
        }
    }
}

fn text(members: &Map<String, Value>, key: &'static str) -> Result<Cow<'static, str>, RuleError> {
    let key_path = if key == "is" { "conditions.is" } else { "conditions.key" };
    let text = members.get(key).and_then(Value::as_str);
    text.map(|text| Cow::Owned(text.to_owned())).ok_or(RuleError::Malformed { key: key_path, expected: "a string" })
}

fn scalar(members: &Map<String, Value>) -> Result<Scalar<'static>, RuleError> {
    let expected = "a string, an integer from -(2^53)+1 to (2^53)-1, a boolean or null";
    members.get("value").and_then(Scalar::parse).ok_or(RuleError::Malformed { key: "conditions.value", expected })
}

/// The `pattern` of a condition or a content rule.
pub(crate) fn pattern(members: &Map<String, Value>) -> Result<Cow<'static, str>, RuleError> {
    let malformed = RuleError::Malformed { key: "pattern", expected: "a string" };
    let pattern = members.get("pattern").and_then(Value::as_str).ok_or(malformed)?;
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(RuleError::TooMany { what: "bytes in a pattern", limit: MAX_PATTERN_BYTES });
    }
    Ok(Cow::Owned(pattern.to_owned()))
}
