//! The state that a new room starts with.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>

use room_engine::{CanonicalObject, RoomVersion};
use ruma::{OwnedUserId, UserId};
use serde_json::{Value, json};

use super::create::{NewRoom, Preset};
use super::member_content::{AUTHORISED_VIA, ContentMap, canonical};
use super::{Draft, RoomError};

impl Preset {
    fn of(new_room: &NewRoom) -> Self {
        let usual = if new_room.is_published { Self::PublicChat } else { Self::PrivateChat };
        new_room.preset.unwrap_or(usual)
    }
}

/// The content of the create event.
pub(super) fn create_content(
    creator: &UserId,
    version: RoomVersion,
    new_room: &NewRoom,
) -> Result<CanonicalObject, RoomError> {
    let rules = &version.rules().authorization;
    let mut content = new_room.creation_content.clone();
    check_type(&content, "m.federate", "true or false", Value::is_boolean)?;
    check_type(&content, "type", "a string", Value::is_string)?;
    check_type(&content, "predecessor", "an object", Value::is_object)?;
    content.remove("creator");
    if !rules.use_room_create_sender {
        content.insert("creator".to_owned(), creator.as_str().into());
    }
    content.insert("room_version".to_owned(), version.as_str().into());
    if rules.additional_room_creators {
        let additional = additional_creators(creator, &content, new_room)?;
        content.remove("additional_creators");
        if !additional.is_empty() {
            content.insert("additional_creators".to_owned(), json!(additional));
        }
    }
    canonical(&content)
}

fn check_type(content: &ContentMap, key: &str, expected: &str, is_it: fn(&Value) -> bool) -> Result<(), RoomError> {
    match content.get(key) {
        Some(value) if !is_it(value) => {
            Err(RoomError::Malformed(format!("creation_content.{key} must be {expected}.")))
        }
        _ => Ok(()),
    }
}

/// The users with the rights of a creator: those named by the client, and with the preset `trusted_private_chat` all invited
/// users.
fn additional_creators(
    creator: &UserId,
    content: &ContentMap,
    new_room: &NewRoom,
) -> Result<Vec<OwnedUserId>, RoomError> {
    let named = content.get("additional_creators").cloned().unwrap_or_else(|| json!([]));
    let mut additional: Vec<OwnedUserId> = serde_json::from_value(named).map_err(|_| {
        RoomError::Malformed("creation_content.additional_creators must be a list of user IDs.".to_owned())
    })?;
    if Preset::of(new_room) == Preset::TrustedPrivateChat {
        additional.extend(new_room.invite.iter().cloned());
    }
    additional.retain(|user_id| user_id != creator);
    additional.sort_unstable();
    additional.dedup();
    Ok(additional)
}

/// Adds the events between the creator's joining and the invitations.
pub(super) fn push_state(
    drafts: &mut Vec<Draft>,
    creator: &UserId,
    version: RoomVersion,
    new_room: &NewRoom,
    alias: Option<&str>,
) -> Result<(), RoomError> {
    let is_given = |event_type: &str| {
        new_room.initial_state.iter().any(|event| event.event_type == event_type && event.state_key.is_empty())
    };
    let mut push = |event_type: &str, state_key: &str, content: &ContentMap| {
        drafts.push(Draft::state(event_type, state_key, canonical(content)?));
        Ok::<_, RoomError>(())
    };
    let given_levels = new_room.initial_state.iter().find(|event| is_at(event, "m.room.power_levels"));
    match given_levels {
        Some(event) => push("m.room.power_levels", "", &event.content)?,
        None => push("m.room.power_levels", "", &power_levels(creator, version, new_room))?,
    }
    if let Some(alias) = alias.filter(|_| !is_given("m.room.canonical_alias")) {
        push("m.room.canonical_alias", "", &object([("alias", alias.into())]))?;
    }
    for (event_type, key, value) in of_preset(Preset::of(new_room)) {
        if !is_given(event_type) {
            push(event_type, "", &object([(key, value.into())]))?;
        }
    }
    for event in &new_room.initial_state {
        let comes_later = (new_room.name.is_some() && is_at(event, "m.room.name"))
            || (new_room.topic.is_some() && is_at(event, "m.room.topic"));
        if event.event_type == "m.room.member" && event.content.contains_key(AUTHORISED_VIA) {
            return Err(RoomError::Invalid(format!("A member event in `initial_state` cannot have {AUTHORISED_VIA}.")));
        }
        if !comes_later && !is_at(event, "m.room.power_levels") {
            push(&event.event_type, &event.state_key, &event.content)?;
        }
    }
    if let Some(name) = &new_room.name {
        push("m.room.name", "", &object([("name", name.as_str().into())]))?;
    }
    if let Some(topic) = &new_room.topic {
        let rich = json!({ "m.text": [{ "body": topic }] });
        push("m.room.topic", "", &object([("topic", topic.as_str().into()), ("m.topic", rich)]))?;
    }
    Ok(())
}

fn is_at(event: &super::InitialState, event_type: &str) -> bool {
    event.event_type == event_type && event.state_key.is_empty()
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> ContentMap {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The state of a preset: event type, key of the content, and value.
fn of_preset(preset: Preset) -> [(&'static str, &'static str, &'static str); 3] {
    let is_public = preset == Preset::PublicChat;
    [
        ("m.room.join_rules", "join_rule", if is_public { "public" } else { "invite" }),
        ("m.room.history_visibility", "history_visibility", "shared"),
        ("m.room.guest_access", "guest_access", if is_public { "forbidden" } else { "can_join" }),
    ]
}

/// <https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels>
fn power_levels(creator: &UserId, version: RoomVersion, new_room: &NewRoom) -> ContentMap {
    let creators_have_no_level = version.rules().authorization.explicitly_privilege_room_creators;
    let preset = Preset::of(new_room);
    let mut users = ContentMap::new();
    if !creators_have_no_level {
        users.insert(creator.to_string(), 100.into());
        if preset == Preset::TrustedPrivateChat {
            users.extend(new_room.invite.iter().map(|user_id| (user_id.to_string(), 100.into())));
        }
    }
    // Since version 12 only creators, who are above all levels, may replace the room.
    let tombstone = if creators_have_no_level { 150 } else { 100 };
    let levels = json!({
        "ban": 50,
        "events": {
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.encryption": 100,
            "m.room.history_visibility": 100,
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": tombstone,
        },
        "events_default": 0,
        "invite": if preset == Preset::PublicChat { 50 } else { 0 },
        "kick": 50,
        "redact": 50,
        "state_default": 50,
        "users": users,
        "users_default": 0,
    });
    let mut levels = if let Value::Object(levels) = levels { levels } else { ContentMap::new() };
    levels.extend(new_room.power_level_content_override.clone());
    levels
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::InitialState;

    fn state(version: RoomVersion, new_room: &NewRoom, alias: Option<&str>) -> Vec<(String, Value)> {
        let mut drafts = Vec::new();
        push_state(&mut drafts, user_id!("@alice:a.org"), version, new_room, alias).unwrap();
        let content = |draft: &Draft| serde_json::from_slice(draft.content.as_bytes()).unwrap();
        drafts.iter().map(|draft| (draft.event_type.clone(), content(draft))).collect()
    }

    #[test]
    fn the_events_come_in_the_order_of_the_specification() {
        let custom =
            InitialState { event_type: "org.a".to_owned(), state_key: "k".to_owned(), content: ContentMap::new() };
        let new_room = NewRoom {
            name: Some("N".to_owned()),
            topic: Some("T".to_owned()),
            initial_state: vec![custom],
            is_published: true,
            ..NewRoom::default()
        };
        let state = state(RoomVersion::V12, &new_room, Some("#r:a.org"));
        let types: Vec<_> = state.iter().map(|(event_type, _)| event_type.as_str()).collect();
        let expected = [
            "m.room.power_levels",
            "m.room.canonical_alias",
            "m.room.join_rules",
            "m.room.history_visibility",
            "m.room.guest_access",
            "org.a",
            "m.room.name",
            "m.room.topic",
        ];
        assert_eq!(types, expected);
        assert_eq!(state[2].1["join_rule"], "public");
        assert_eq!(state[7].1["m.topic"]["m.text"][0]["body"], "T");
    }

    #[test]
    fn creators_have_a_level_up_to_version_11_and_none_since_version_12() {
        let new_room = NewRoom {
            preset: Some(Preset::TrustedPrivateChat),
            invite: vec![user_id!("@bob:a.org").to_owned()],
            ..NewRoom::default()
        };
        let (_, old) = &state(RoomVersion::V11, &new_room, None)[0];
        assert_eq!(old["users"], json!({ "@alice:a.org": 100, "@bob:a.org": 100 }));
        let (_, new) = &state(RoomVersion::V12, &new_room, None)[0];
        assert_eq!((&new["users"], &new["events"]["m.room.tombstone"]), (&json!({}), &json!(150)));
        let create = create_content(user_id!("@alice:a.org"), RoomVersion::V12, &new_room).unwrap();
        assert_eq!(create.as_bytes(), br#"{"additional_creators":["@bob:a.org"],"room_version":"12"}"#);
    }

    #[test]
    fn creation_content_cannot_set_the_creator_or_the_version() {
        let content = json!({ "creator": "@eve:a.org", "room_version": "x", "m.federate": false, "type": "m.space" });
        let Value::Object(creation_content) = content else { unreachable!() };
        let new_room = NewRoom { creation_content, ..NewRoom::default() };
        let create = |version| {
            create_content(user_id!("@alice:a.org"), version, &new_room).unwrap().string("creator").map(String::from)
        };
        assert_eq!(create(RoomVersion::V10), Some("@alice:a.org".to_owned()));
        assert_eq!(create(RoomVersion::V11), None);
    }

    #[test]
    fn given_state_replaces_that_of_the_preset() {
        let content = object([("join_rule", "knock".into())]);
        let given = InitialState { event_type: "m.room.join_rules".to_owned(), state_key: String::new(), content };
        let new_room = NewRoom { initial_state: vec![given], ..NewRoom::default() };
        let state = state(RoomVersion::V12, &new_room, None);
        let rules: Vec<_> = state.iter().filter(|(event_type, _)| event_type == "m.room.join_rules").collect();
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].1["join_rule"], "knock");
    }
}
