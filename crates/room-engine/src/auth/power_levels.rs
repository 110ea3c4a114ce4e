//! The power levels in force.

use std::fmt;

use ruma::{UserId, room_version_rules::AuthorizationRules};

use super::{Action, AuthError, StateLookup};
use crate::{CreateContent, Pdu, PowerLevelsContent, content::LevelProperty};

/// The power level of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PowerLevel {
    /// A level as in `m.room.power_levels`.
    Finite(i64),
    /// That of a [room creator](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules) since version 12.
    Infinite,
}

impl fmt::Display for PowerLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(level) => level.fmt(f),
            Self::Infinite => f.write_str("that of a creator"),
        }
    }
}

/// The power levels of a room, with the defaults that apply where the room says nothing. Cloning is cheap.
///
/// See [`m.room.power_levels`](https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels).
#[derive(Debug, Clone)]
pub struct PowerLevels {
    create: Pdu,
    event: Option<Pdu>,
}

impl PowerLevels {
    /// The level of a creator while there is no `m.room.power_levels`.
    const CREATOR_WITHOUT_EVENT: i64 = 100;

    /// The level that a notification to the whole room needs where nothing is said.
    const NOTIFICATION: i64 = 50;

    /// The levels of a room with these two state events.
    ///
    /// # Errors
    /// When an event is of another type, or the content is not of the form that the version needs.
    pub fn new(create: &Pdu, power_levels: Option<&Pdu>) -> Result<Self, AuthError> {
        create.create()?;
        power_levels.map(Pdu::power_levels).transpose()?;
        Ok(Self { create: create.clone(), event: power_levels.cloned() })
    }

    /// The levels of a room with this state.
    ///
    /// # Errors
    /// As [`PowerLevels::new`], and when there is no create event.
    pub fn of_state<S: StateLookup + ?Sized>(state: &S) -> Result<Self, AuthError> {
        let create = state.get("m.room.create", "").ok_or(AuthError::NoCreateEvent)?;
        Self::new(create, state.get("m.room.power_levels", ""))
    }

    /// The level of a user.
    pub fn user_level(&self, user: &UserId) -> PowerLevel {
        let is_creator = self.is_creator(user);
        if is_creator && self.rules().explicitly_privilege_room_creators {
            return PowerLevel::Infinite;
        }
        PowerLevel::Finite(match self.content() {
            Some(content) => match content.users.get(user) {
                Some(level) => *level,
                None => self.level(LevelProperty::UsersDefault),
            },
            None if is_creator => Self::CREATOR_WITHOUT_EVENT,
            None => LevelProperty::UsersDefault.default_level(),
        })
    }

    /// Whether the user created the room: the `creator` up to version 10, the sender of the create event since version
    /// 11, and also the `additional_creators` since version 12.
    pub fn is_creator(&self, user: &UserId) -> bool {
        let Some(content) = self.create_content() else { return false };
        let rules = self.rules();
        let first = if rules.use_room_create_sender { Some(self.create.sender()) } else { content.creator.as_deref() };
        let additional = content.additional_creators.as_deref().filter(|_| rules.additional_room_creators);
        first == Some(user) || additional.is_some_and(|users| users.iter().any(|creator| creator == user))
    }

    /// The level that sending an event of this type needs.
    pub fn required_to_send(&self, event_type: &str, is_state: bool) -> i64 {
        let default = if is_state { LevelProperty::StateDefault } else { LevelProperty::EventsDefault };
        let of_type = self.content().and_then(|content| content.events.get(event_type));
        of_type.copied().unwrap_or_else(|| self.level(default))
    }

    /// The level that banning needs.
    pub fn ban(&self) -> i64 {
        self.level(LevelProperty::Ban)
    }

    /// The level that removing a member needs.
    pub fn kick(&self) -> i64 {
        self.level(LevelProperty::Kick)
    }

    /// The level that inviting needs.
    pub fn invite(&self) -> i64 {
        self.level(LevelProperty::Invite)
    }

    /// The level that redacting events of others needs.
    pub fn redact(&self) -> i64 {
        self.level(LevelProperty::Redact)
    }

    /// The level that a notification of this kind, such as `room`, needs.
    pub fn notification(&self, kind: &str) -> i64 {
        let level = self.content().and_then(|content| content.notifications.get(kind));
        level.copied().unwrap_or(Self::NOTIFICATION)
    }

    /// Refuses what the user does not have the level for.
    pub(super) fn require(&self, user: &UserId, needed: i64, action: impl FnOnce() -> Action) -> Result<(), AuthError> {
        let have = self.user_level(user);
        if have >= PowerLevel::Finite(needed) {
            Ok(())
        } else {
            Err(AuthError::InsufficientPower { needed, have, action: action() })
        }
    }

    /// Refuses to act on a user whose level is not below the sender's.
    pub(super) fn require_above(&self, sender: &UserId, target: &UserId, action: Action) -> Result<(), AuthError> {
        let (have, level) = (self.user_level(sender), self.user_level(target));
        if level < have {
            Ok(())
        } else {
            Err(AuthError::TargetNotBelow { action, user: target.to_owned(), target: level, have })
        }
    }

    fn rules(&self) -> &'static AuthorizationRules {
        &self.create.version().rules().authorization
    }

    fn create_content(&self) -> Option<&CreateContent> {
        self.create.create().ok()
    }

    fn content(&self) -> Option<&PowerLevelsContent> {
        self.event.as_ref().and_then(|event| event.power_levels().ok())
    }

    fn level(&self, property: LevelProperty) -> i64 {
        let written = self.content().and_then(|content| content.property(property));
        written.unwrap_or_else(|| property.default_level())
    }
}
