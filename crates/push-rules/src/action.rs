//! The actions of a rule.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use crate::{MAX_ACTIONS, RuleError};

/// An [action](https://spec.matrix.org/v1.19/client-server-api/#actions) of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// `notify`.
    Notify,
    /// The `sound` tweak.
    Sound(Cow<'static, str>),
    /// The `highlight` tweak; without a value it is true.
    Highlight(Option<bool>),
    /// Other tweaks, which are sent to push gateways unchanged, and unknown actions, which do nothing.
    Other(Value),
}

impl Action {
    /// Reads the `actions` of a rule.
    ///
    /// # Errors
    /// When it is not an array of strings and objects, or too long.
    pub fn parse_list(value: &Value) -> Result<Vec<Self>, RuleError> {
        let malformed = RuleError::Malformed { key: "actions", expected: "an array of strings and objects" };
        let list = value.as_array().ok_or_else(|| malformed.clone())?;
        if list.len() > MAX_ACTIONS {
            return Err(RuleError::TooMany { what: "actions in a rule", limit: MAX_ACTIONS });
        }
        list.iter().map(|action| Self::parse(action).ok_or_else(|| malformed.clone())).collect()
    }

    fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::String(name) if name == "notify" => Some(Self::Notify),
            Value::Object(members) => {
                let tweak = members.get("set_tweak").and_then(Value::as_str);
                Some(match (tweak, members.get("value")) {
                    (Some("sound"), Some(Value::String(sound))) => Self::Sound(Cow::Owned(sound.clone())),
                    (Some("highlight"), None) => Self::Highlight(None),
                    (Some("highlight"), Some(Value::Bool(highlight))) => Self::Highlight(Some(*highlight)),
                    _ => Self::Other(value.clone()),
                })
            }
            Value::String(_) => Some(Self::Other(value.clone())),
            _ => None,
        }
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, value) = match self {
            Self::Notify => return serializer.serialize_str("notify"),
            Self::Other(value) => return value.serialize(serializer),
            Self::Sound(sound) => ("sound", Some(Value::from(sound.as_ref()))),
            Self::Highlight(highlight) => ("highlight", highlight.map(Value::from)),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("set_tweak", name)?;
        if let Some(value) = value {
            map.serialize_entry("value", &value)?;
        }
        map.end()
    }
}

/// The outcome of an event for a user, by the actions of the rule that matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Outcome<'r> {
    /// Whether the user is notified, and the event counts as unread.
    pub notify: bool,
    /// Whether the event is highlighted, and counts as a highlight if it notifies.
    pub highlight: bool,
    /// The sound to play.
    pub sound: Option<&'r str>,
}

impl<'r> Outcome<'r> {
    /// The outcome of actions; of a tweak that is set twice the last one counts.
    pub fn of(actions: &'r [Action]) -> Self {
        let mut outcome = Self::default();
        for action in actions {
            match action {
                Action::Notify => outcome.notify = true,
                Action::Sound(sound) => outcome.sound = Some(sound),
                Action::Highlight(highlight) => outcome.highlight = highlight.unwrap_or(true),
                Action::Other(_) => {}
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome_of(actions: &Value) -> (bool, bool, Option<String>) {
        let actions = Action::parse_list(actions).unwrap();
        let outcome = Outcome::of(&actions);
        (outcome.notify, outcome.highlight, outcome.sound.map(str::to_owned))
    }

    #[test]
    fn no_actions_do_nothing() {
        assert_eq!(outcome_of(&json!([])), (false, false, None));
    }

    #[test]
    fn a_highlight_without_value_is_true_and_no_highlight_is_false() {
        assert_eq!(outcome_of(&json!(["notify", { "set_tweak": "highlight" }])), (true, true, None));
        assert_eq!(outcome_of(&json!(["notify", { "set_tweak": "highlight", "value": false }])), (true, false, None));
        assert_eq!(outcome_of(&json!(["notify"])), (true, false, None));
    }

    #[test]
    fn a_sound_is_what_the_tweak_says() {
        let actions = json!(["notify", { "set_tweak": "sound", "value": "cakealarm.wav" }]);
        assert_eq!(outcome_of(&actions), (true, false, Some("cakealarm.wav".to_owned())));
    }

    #[test]
    fn historical_and_unknown_actions_do_nothing_and_are_written_back() {
        let actions = json!(["dont_notify", "coalesce", { "set_tweak": "light", "value": [1] }, { "x": 1 }, {
            "set_tweak": "sound", "value": 7 }]);
        assert_eq!(outcome_of(&actions), (false, false, None));
        assert_eq!(serde_json::to_value(Action::parse_list(&actions).unwrap()).unwrap(), actions);
    }

    #[test]
    fn known_actions_are_written_as_they_were_read() {
        let actions = json!(["notify", { "set_tweak": "highlight" }, { "set_tweak": "highlight", "value": true }, {
            "set_tweak": "sound", "value": "default" }]);
        assert_eq!(serde_json::to_value(Action::parse_list(&actions).unwrap()).unwrap(), actions);
    }

    #[test]
    fn actions_that_are_neither_strings_nor_objects_are_refused() {
        for actions in [json!("notify"), json!([1]), json!([null]), json!({})] {
            assert!(Action::parse_list(&actions).is_err(), "{actions}");
        }
        assert!(Action::parse_list(&Value::Array(vec![json!("notify"); MAX_ACTIONS + 1])).is_err());
    }
}
