//! Rule 9: changes of the power levels.

use std::collections::BTreeMap;

use ruma::UserId;

use super::{AuthError, PowerLevel, PowerLevels, StateLookup, room::Room};
use crate::{Pdu, PowerLevelsContent, content::LevelProperty};

/// [Rule 9](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules). Parsing the new content is rules 9.1 to 9.3.
pub(super) fn check_power_levels<S: StateLookup + ?Sized>(
    event: &Pdu,
    room: &Room<'_, S>,
    levels: &PowerLevels,
) -> Result<(), AuthError> {
    let new = event.power_levels()?;
    if room.rules().explicitly_privilege_room_creators {
        check_no_creators(new, levels)?;
    }
    let Some(current) = room.power_levels_event() else { return Ok(()) };
    let current = current.power_levels()?;
    let have = levels.user_level(event.sender());
    check_properties(current, new, have)?;
    check_map(&current.events, &new.events, have)?;
    if room.rules().limit_notifications_power_levels {
        check_map(&current.notifications, &new.notifications, have)?;
    }
    check_users(current, new, event.sender(), have)
}

/// [Rule 10.4 of version 12](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules): creators have no level.
fn check_no_creators(new: &PowerLevelsContent, levels: &PowerLevels) -> Result<(), AuthError> {
    match new.users.keys().find(|user| levels.is_creator(user)) {
        Some(user) => Err(AuthError::LevelOfCreator { user: user.clone() }),
        None => Ok(()),
    }
}

/// Rule 9.5. An absent property stands for its default.
fn check_properties(current: &PowerLevelsContent, new: &PowerLevelsContent, have: PowerLevel) -> Result<(), AuthError> {
    for property in LevelProperty::ALL {
        let (old_level, new_level) = (current.property(property), new.property(property));
        if old_level == new_level {
            continue;
        }
        for level in [old_level, new_level] {
            check_reach(property.as_str(), level.unwrap_or_else(|| property.default_level()), have)?;
        }
    }
    Ok(())
}

/// Rules 9.6 and 9.7.
fn check_map(current: &BTreeMap<String, i64>, new: &BTreeMap<String, i64>, have: PowerLevel) -> Result<(), AuthError> {
    for (key, level) in current.iter().filter(|(key, level)| new.get(*key) != Some(level)) {
        check_reach(key, *level, have)?;
    }
    for (key, level) in new.iter().filter(|(key, level)| current.get(*key) != Some(level)) {
        check_reach(key, *level, have)?;
    }
    Ok(())
}

/// Rules 9.8 and 9.9.
fn check_users(
    current: &PowerLevelsContent,
    new: &PowerLevelsContent,
    sender: &UserId,
    have: PowerLevel,
) -> Result<(), AuthError> {
    let (current, new) = (&current.users, &new.users);
    for (user, level) in current.iter().filter(|(user, level)| new.get(*user) != Some(level)) {
        if user != sender && PowerLevel::Finite(*level) >= have {
            return Err(AuthError::LevelOfEqual { user: user.clone(), level: *level, have });
        }
    }
    for (user, level) in new.iter().filter(|(user, level)| current.get(*user) != Some(level)) {
        check_reach(user.as_str(), *level, have)?;
    }
    Ok(())
}

fn check_reach(what: &str, level: i64, have: PowerLevel) -> Result<(), AuthError> {
    if PowerLevel::Finite(level) > have {
        Err(AuthError::LevelAboveOwn { what: what.into(), level, have })
    } else {
        Ok(())
    }
}
