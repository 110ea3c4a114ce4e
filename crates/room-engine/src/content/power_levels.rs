//! `m.room.power_levels`.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};

use crate::{
    CanonicalObject, Members, RoomVersion,
    auth::AuthError,
    canonical::{integer_value, string_value},
};

/// The single levels of `m.room.power_levels`, each with a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LevelProperty {
    UsersDefault,
    EventsDefault,
    StateDefault,
    Ban,
    Redact,
    Kick,
    Invite,
}

impl LevelProperty {
    pub(crate) const ALL: [Self; 7] = [
        Self::UsersDefault,
        Self::EventsDefault,
        Self::StateDefault,
        Self::Ban,
        Self::Redact,
        Self::Kick,
        Self::Invite,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::UsersDefault => "users_default",
            Self::EventsDefault => "events_default",
            Self::StateDefault => "state_default",
            Self::Ban => "ban",
            Self::Redact => "redact",
            Self::Kick => "kick",
            Self::Invite => "invite",
        }
    }

    pub(crate) const fn default_level(self) -> i64 {
        match self {
            Self::UsersDefault | Self::EventsDefault | Self::Invite => 0,
            Self::StateDefault | Self::Ban | Self::Redact | Self::Kick => 50,
        }
    }
}

/// The levels of [`m.room.power_levels`](https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels), as
/// written; a level that is not there has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PowerLevelsContent {
    /// `users_default`.
    pub users_default: Option<i64>,
    /// `events_default`.
    pub events_default: Option<i64>,
    /// `state_default`.
    pub state_default: Option<i64>,
    /// `ban`.
    pub ban: Option<i64>,
    /// `redact`.
    pub redact: Option<i64>,
    /// `kick`.
    pub kick: Option<i64>,
    /// `invite`.
    pub invite: Option<i64>,
    /// `events`, by event type.
    pub events: BTreeMap<String, i64>,
    /// `notifications`, by kind; not read where no rule of the version does.
    pub notifications: BTreeMap<String, i64>,
    /// `users`.
    pub users: BTreeMap<OwnedUserId, i64>,
}

impl PowerLevelsContent {
    /// Reads the levels, as rules
    /// [9.1 to 9.3 of version 11](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules) demand them: integers
    /// since version 10, before that also strings of integers and numbers with a fraction.
    ///
    /// # Errors
    /// When a level that the rules of the version read is not a level.
    pub fn parse(version: RoomVersion, content: &CanonicalObject) -> Result<Self, AuthError> {
        let rules = &version.rules().authorization;
        let strict = rules.integer_power_levels;
        let reads_notifications = rules.limit_notifications_power_levels || strict;
        let mut levels = Self::default();
        for (key, value) in content.members() {
            match key {
                b"events" => levels.events = map(value, strict, "events", |name| Some(name.to_owned()))?,
                b"notifications" if reads_notifications => {
                    levels.notifications = map(value, strict, "notifications", |name| Some(name.to_owned()))?;
                }
                b"users" => levels.users = map(value, strict, "users", |id| UserId::parse(id).ok())?,
                _ => {
                    let property = LevelProperty::ALL.into_iter().find(|property| property.as_str().as_bytes() == key);
                    if let Some(property) = property {
                        let level = level(value, strict);
                        *levels.property_mut(property) =
                            Some(level.ok_or(AuthError::MalformedPowerLevels { property: property.as_str() })?);
                    }
                }
            }
        }
        Ok(levels)
    }

    pub(crate) const fn property(&self, property: LevelProperty) -> Option<i64> {
        match property {
            LevelProperty::UsersDefault => self.users_default,
            LevelProperty::EventsDefault => self.events_default,
            LevelProperty::StateDefault => self.state_default,
            LevelProperty::Ban => self.ban,
            LevelProperty::Redact => self.redact,
            LevelProperty::Kick => self.kick,
            LevelProperty::Invite => self.invite,
        }
    }

    const fn property_mut(&mut self, property: LevelProperty) -> &mut Option<i64> {
        match property {
            LevelProperty::UsersDefault => &mut self.users_default,
            LevelProperty::EventsDefault => &mut self.events_default,
            LevelProperty::StateDefault => &mut self.state_default,
            LevelProperty::Ban => &mut self.ban,
            LevelProperty::Redact => &mut self.redact,
            LevelProperty::Kick => &mut self.kick,
            LevelProperty::Invite => &mut self.invite,
        }
    }
}

fn map<K: Ord>(
    json: &[u8],
    strict: bool,
    property: &'static str,
    parse_key: impl Fn(&str) -> Option<K>,
) -> Result<BTreeMap<K, i64>, AuthError> {
    let malformed = AuthError::MalformedPowerLevels { property };
    if json.first() != Some(&b'{') {
        return Err(malformed);
    }
    Members::new(json)
        .map(|(key, value)| {
            let mut quoted = Vec::with_capacity(key.len() + 2);
            quoted.push(b'"');
            quoted.extend_from_slice(key);
            quoted.push(b'"');
            let key = parse_key(&string_value(&quoted)?)?;
            Some((key, level(value, strict)?))
        })
        .collect::<Option<_>>()
        .ok_or(malformed)
}

fn level(json: &[u8], strict: bool) -> Option<i64> {
    if strict || json.first() != Some(&b'"') {
        return integer_value(json).or_else(|| if strict { None } else { truncated(json) });
    }
    // https://spec.matrix.org/v1.19/rooms/v9/#mroompower_levels-events-accept-values-as-strings
    let text = string_value(json)?;
    let digits = text.trim();
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    unsigned.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// [Levels as floats](https://spec.matrix.org/v1.19/rooms/v5/#mroompower_levels-events-accept-values-as-floats) lose
/// what is behind the point.
fn truncated(json: &[u8]) -> Option<i64> {
    let number: f64 = std::str::from_utf8(json).ok()?.parse().ok()?;
    // Printing a whole number and reading it again is exact where it fits, and fails where it does not.
    format!("{:.0}", number.trunc()).parse().ok()
}
