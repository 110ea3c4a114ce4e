//! Converting power levels from one room version to another.

use room_engine::{MAX_CANONICAL_INTEGER, Pdu, RoomVersion};
use ruma::{OwnedUserId, UserId};
use serde_json::{Number, Value, json};

use crate::RoomError;
use crate::member_content::ContentMap;
use crate::wire;

/// The level of administrators.
const ADMINISTRATOR: i64 = 100;
/// The level of moderators.
const MODERATOR: i64 = 50;
/// The level to replace a room since version 12: only creators, who are above all levels, have it.
const TOMBSTONE: i64 = 150;

/// Keys whose values are required levels.
const REQUIREMENTS: [&str; 6] = ["ban", "events_default", "invite", "kick", "redact", "state_default"];
/// Keys whose values are maps to levels.
const MAPS: [&str; 3] = ["events", "notifications", "users"];

/// The power levels of a room as content with integer levels, also if it has no such event.
pub(super) fn in_force(create: &Pdu, power_levels: Option<&Pdu>) -> Result<ContentMap, RoomError> {
    let mut levels = match power_levels {
        Some(event) => wire::values(event.content().as_bytes()),
        None if privileges_creators(create.version()) => ContentMap::new(),
        None => {
            let users: ContentMap =
                creators(create)?.into_iter().map(|user_id| (user_id.to_string(), ADMINISTRATOR.into())).collect();
            ContentMap::from_iter([("users".to_owned(), users.into())])
        }
    };
    normalise(&mut levels);
    Ok(levels)
}

/// The levels of the room that `create` created, converted for a room of another version with `new_creators`.
pub(super) fn for_version<'a>(
    mut levels: ContentMap,
    create: &Pdu,
    version: RoomVersion,
    new_creators: impl Iterator<Item = &'a UserId>,
) -> Result<ContentMap, RoomError> {
    match (privileges_creators(create.version()), privileges_creators(version)) {
        (false, true) => {
            // Another level was chosen by a user, and stays.
            if let Some(events) = map(&mut levels, "events")
                && events.get("m.room.tombstone").and_then(level).is_none_or(|level| level == ADMINISTRATOR)
            {
                events.insert("m.room.tombstone".to_owned(), TOMBSTONE.into());
            }
        }
        (true, false) => give_levels(&mut levels, &creators(create)?),
        (true, true) | (false, false) => {}
    }
    if privileges_creators(version)
        && let Some(users) = map(&mut levels, "users")
    {
        for user_id in new_creators {
            users.remove(user_id.as_str());
        }
    }
    Ok(levels)
}

/// The levels with which only moderators may send messages and invite; `None` if the room has them already.
pub(super) fn closed(mut levels: ContentMap) -> Option<ContentMap> {
    let current = |key: &str| levels.get(key).and_then(level).unwrap_or(0);
    let needed = MODERATOR.max(current("users_default").saturating_add(1)).min(MAX_CANONICAL_INTEGER);
    let open: Vec<_> = ["events_default", "invite"].into_iter().filter(|key| current(key) < needed).collect();
    for key in &open {
        levels.insert((*key).to_owned(), needed.into());
    }
    (!open.is_empty()).then_some(levels)
}

/// Gives creators, who were above all levels, the highest level, and lowers required levels above it.
fn give_levels(levels: &mut ContentMap, creators: &[OwnedUserId]) {
    let default = levels.get("users_default").and_then(level).unwrap_or(0);
    let Some(users) = map(levels, "users") else { return };
    let highest = users.values().filter_map(level).fold(ADMINISTRATOR.max(default), i64::max);
    for user_id in creators {
        users.insert(user_id.to_string(), highest.into());
    }
    let lower = |value: &mut Value| {
        if level(value).is_some_and(|level| level > highest) {
            *value = highest.into();
        }
    };
    map(levels, "events").into_iter().flat_map(ContentMap::values_mut).for_each(lower);
    for key in REQUIREMENTS {
        if let Some(value) = levels.get_mut(key) {
            lower(value);
        }
    }
}

/// Makes all levels integers, which every version accepts, and drops values that are no levels.
fn normalise(levels: &mut ContentMap) {
    levels.retain(|key, value| {
        if MAPS.contains(&key.as_str()) {
            let Value::Object(map) = value else { return false };
            map.retain(|name, value| (key != "users" || UserId::parse(name).is_ok()) && make_integer(value));
            true
        } else if key == "users_default" || REQUIREMENTS.contains(&key.as_str()) {
            make_integer(value)
        } else {
            true
        }
    });
}

fn make_integer(value: &mut Value) -> bool {
    let Some(level) = level(value) else { return false };
    *value = level.into();
    true
}

/// The level in a value: versions up to 9 also accept strings and numbers with a fraction.
fn level(value: &Value) -> Option<i64> {
    let level = match value {
        Value::Number(number) => number.as_i64().or_else(|| whole_part(number))?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    Some(level.clamp(-MAX_CANONICAL_INTEGER, MAX_CANONICAL_INTEGER))
}

fn whole_part(number: &Number) -> Option<i64> {
    format!("{:.0}", number.as_f64()?.trunc()).parse().ok()
}

fn map<'a>(levels: &'a mut ContentMap, key: &str) -> Option<&'a mut ContentMap> {
    levels.entry(key).or_insert_with(|| json!({})).as_object_mut()
}

fn privileges_creators(version: RoomVersion) -> bool {
    version.rules().authorization.explicitly_privilege_room_creators
}

/// The creators of a room.
fn creators(create: &Pdu) -> Result<Vec<OwnedUserId>, RoomError> {
    let rules = &create.version().rules().authorization;
    let content = create.create()?;
    let first = if rules.use_room_create_sender { Some(create.sender().to_owned()) } else { content.creator.clone() };
    let additional = content.additional_creators.iter().flatten().filter(|_| rules.additional_room_creators);
    Ok(first.into_iter().chain(additional.cloned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(json: Value) -> ContentMap {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn levels_of_all_forms_become_integers_and_other_values_are_dropped() {
        let mut levels = content(json!({
            "ban": "60", "kick": 50.9, "users_default": " 1 ", "redact": [], "org.example": "kept",
            "users": { "@a:x": "100", "nobody": 5, "@b:x": null }, "notifications": { "room": {} }, "events": 5,
        }));
        normalise(&mut levels);
        let expected = json!({
            "ban": 60, "kick": 50, "users_default": 1, "org.example": "kept",
            "users": { "@a:x": 100 }, "notifications": {},
        });
        assert_eq!(Value::Object(levels), expected);
    }

    #[test]
    fn a_closed_room_requires_a_level_above_the_default() {
        let closed_with =
            |json| closed(content(json)).map(|levels| [levels["events_default"].clone(), levels["invite"].clone()]);
        assert_eq!(closed_with(json!({})), Some([json!(50), json!(50)]));
        assert_eq!(closed_with(json!({ "users_default": 70, "invite": 90 })), Some([json!(71), json!(90)]));
        assert_eq!(closed_with(json!({ "events_default": 50, "invite": 50 })), None);
    }

    #[test]
    fn creators_without_a_level_get_the_highest_and_higher_requirements_are_lowered() {
        let creators = [UserId::parse("@creator:x").unwrap()];
        let given = |users: Value| {
            let mut levels = content(json!({ "users": users, "events": { "m.room.tombstone": 150 }, "ban": 200 }));
            give_levels(&mut levels, &creators);
            Value::Object(levels)
        };
        let expected = json!({ "users": { "@creator:x": 100 }, "events": { "m.room.tombstone": 100 }, "ban": 100 });
        assert_eq!(given(json!({})), expected);
        let expected = json!({
            "users": { "@creator:x": 150, "@b:x": 150 }, "events": { "m.room.tombstone": 150 }, "ban": 150,
        });
        assert_eq!(given(json!({ "@b:x": 150 })), expected);
    }
}
