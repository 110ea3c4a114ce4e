//! An event, prepared for the rules of many users.

mod read;
mod value;

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    Condition, RuleTest, Scalar,
    defaults::{DefaultRule, DefaultRules},
    fold::fold,
    path,
    words::Body,
};
pub(crate) use value::Value;
use value::{Object, Text};

/// The path of the list of users that an event mentions.
const MENTIONS: &str = r"content.m\.mentions.user_ids";

/// The properties of the event's room that rules use, as they were at the event.
#[derive(Debug, Clone, Copy)]
pub struct RoomContext<'r> {
    /// The room's ID.
    pub room_id: &'r str,
    /// The number of joined members.
    pub member_count: u64,
    /// The power level of the event's sender.
    pub sender_power: SenderPower,
    /// The `notifications` of [`m.room.power_levels`](https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels),
    /// as written; `room` is 50 where it is not.
    pub notifications: &'r BTreeMap<String, i64>,
}

/// The power of a sender in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SenderPower {
    /// A power level.
    Level(i64),
    /// A creator's, which is above all levels, in room versions 12 and later.
    Creator,
}

/// The event is not a JSON object.
#[derive(Debug, thiserror::Error)]
#[error("the event is not a JSON object: {0}")]
pub struct NotAnEvent(#[from] serde_json::Error);

/// An event prepared for the rules of all users: its properties by path, the words of its body, and the default rules that
/// match it.
#[derive(Debug)]
pub struct PreparedEvent<'e> {
    /// All properties but those below.
    properties: Object<'e>,
    event_type: Option<Value<'e>>,
    sender: Option<Value<'e>>,
    state_key: Option<Value<'e>>,
    room_id: Value<'e>,
    content_body: Option<Value<'e>>,
    body: Option<Body<'e>>,
    room: RoomContext<'e>,
    /// The default rules that match, as far as that does not depend on the user.
    defaults: DefaultRules,
}

/// A property that a condition asks for. The properties in frequent conditions are found without a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Property {
    Type,
    Sender,
    StateKey,
    RoomId,
    Body,
    At(Box<[Box<str>]>),
}

impl Property {
    pub(crate) fn of_path(path: &str) -> Self {
        match path {
            "type" => Self::Type,
            "sender" => Self::Sender,
            "state_key" => Self::StateKey,
            "room_id" => Self::RoomId,
            "content.body" => Self::Body,
            _ => Self::At(path::names(path).map(Box::from).collect()),
        }
    }
}

impl<'e> PreparedEvent<'e> {
    /// Prepares an event from its [client format](https://spec.matrix.org/v1.19/client-server-api/#room-event-format), with
    /// or without `room_id`. `unsigned` is of no concern: it differs by who asks.
    ///
    /// # Errors
    /// When the text is not a JSON object.
    pub fn new(client_json: &'e [u8], room: RoomContext<'e>) -> Result<Self, NotAnEvent> {
        let mut properties = read::object(client_json)?;
        properties.remove("unsigned");
        properties.remove("room_id");
        let content_body = properties.object_mut("content").and_then(|content| content.take_leaf("body"));
        let mut event = Self {
            event_type: properties.take_leaf("type"),
            sender: properties.take_leaf("sender"),
            state_key: properties.take_leaf("state_key"),
            room_id: Value::Text(Text::new(Cow::Borrowed(room.room_id))),
            body: None,
            content_body,
            properties,
            room,
            defaults: DefaultRules::NONE,
        };
        if let Some(Value::Text(text)) = &event.content_body {
            event.body = Some(Body::new(text.raw().clone()));
        }
        event.defaults = event.matching_defaults();
        Ok(event)
    }

    /// The event's sender.
    pub fn sender(&self) -> Option<&str> {
        self.sender.as_ref().and_then(Value::as_text)
    }

    /// The users whom the event mentions, sorted.
    pub(crate) fn mentions(&self) -> &[Scalar<'e>] {
        self.at_path(MENTIONS).and_then(Value::as_list).unwrap_or_default()
    }

    /// The user whom the event invites.
    pub(crate) fn invited(&self) -> Option<&str> {
        self.state_key.as_ref().and_then(Value::as_text).filter(|_| self.defaults.has(DefaultRule::INVITE_FOR_ME))
    }

    pub(crate) const fn room(&self) -> &RoomContext<'e> {
        &self.room
    }

    pub(crate) const fn body(&self) -> Option<&Body<'e>> {
        self.body.as_ref()
    }

    /// The default rules that match, where the two that depend on the user are counted as matching if they may.
    pub(crate) const fn defaults(&self) -> DefaultRules {
        self.defaults
    }

    pub(crate) fn property(&self, property: &Property) -> Option<&Value<'e>> {
        match property {
            Property::Type => self.event_type.as_ref(),
            Property::Sender => self.sender.as_ref(),
            Property::StateKey => self.state_key.as_ref(),
            Property::RoomId => Some(&self.room_id),
            Property::Body => self.content_body.as_ref(),
            Property::At(names) => self.properties.at(names.iter().map(AsRef::as_ref)),
        }
    }

    fn at_path(&self, path: &str) -> Option<&Value<'e>> {
        match path {
            "type" => self.event_type.as_ref(),
            "state_key" => self.state_key.as_ref(),
            _ => self.properties.at(path::names(path)),
        }
    }

    fn matching_defaults(&self) -> DefaultRules {
        DefaultRule::all()
            .filter(|(_, rule)| match &rule.test {
                RuleTest::Conditions(conditions) => conditions.iter().all(|condition| self.may_hold(condition)),
                RuleTest::Pattern(_) | RuleTest::Id => false,
            })
            .fold(DefaultRules::NONE, |defaults, (rule, _)| defaults.with(rule))
    }

    /// Whether a condition of a default rule holds, for some user at least. Their patterns have no wildcards.
    fn may_hold(&self, condition: &Condition) -> bool {
        match condition {
            Condition::EventMatch { key, pattern } => {
                self.at_path(key).and_then(Value::as_folded).is_some_and(|text| text == fold(pattern))
            }
            Condition::EventPropertyIs { key, value } => self.at_path(key).is_some_and(|found| found.is(value)),
            Condition::EventMatchOwnId { key } => self.at_path(key).and_then(Value::as_text).is_some(),
            Condition::EventPropertyContainsOwnId { .. } => !self.mentions().is_empty(),
            Condition::RoomMemberCount(is) => is.holds(self.room.member_count),
            Condition::SenderNotificationPermission { key } => self.sender_may_notify(key),
            Condition::EventPropertyContains { .. } | Condition::ContainsDisplayName | Condition::Unknown(_) => false,
        }
    }

    /// Whether the sender's power level is enough for a kind of notification. Nobody may send a kind that has neither a level in
    /// the room nor a default in the specification.
    pub(crate) fn sender_may_notify(&self, key: &str) -> bool {
        let default = (key == "room").then_some(50);
        let required = self.room.notifications.get(key).copied().or(default);
        required.is_some_and(|required| self.room.sender_power >= SenderPower::Level(required))
    }
}
