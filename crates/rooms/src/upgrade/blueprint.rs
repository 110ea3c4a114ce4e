//! The state that a new room copies from the room that it replaces.

use room_engine::{CanonicalObject, Membership, ParseLimits, Pdu, RoomVersion, string_value};
use ruma::EventId;
use serde_json::{Value, json};
use storage::{FullState, StoredEvent};

use super::{Replacing, levels};
use crate::create::{NewRoom, RoomCreation};
use crate::initial_state::create_content;
use crate::member_content::{ContentMap, canonical};
use crate::wire;
use crate::{Draft, OpenRoom, RoomError};

/// The types of state events with an empty state key that are copied.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-17>
const COPIED: [&str; 9] = [
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
    "m.room.server_acl",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
];
/// The most links to other rooms of one type, and the most bans, that are copied: the newest ones.
const MAX_COPIED: usize = 5_000;

/// The first events of a new room.
pub(super) struct Blueprint {
    /// The keys of the create event that an upgrade does not set.
    creation: ContentMap,
    /// The join of the upgrader.
    pub(super) upgrader: Draft,
    /// The other state. The power levels come last: until then the creator may set everything.
    pub(super) state: Vec<Draft>,
}

impl Blueprint {
    /// The content of the create event. `tombstone` is the tombstone of the old room, if it was built before.
    pub(super) fn create_content(
        &self,
        replacing: &Replacing<'_>,
        tombstone: Option<&EventId>,
    ) -> Result<CanonicalObject, RoomError> {
        let mut creation_content = self.creation.clone();
        let mut predecessor = ContentMap::new();
        predecessor.insert("room_id".to_owned(), replacing.room_id.as_str().into());
        if let Some(event_id) = tombstone {
            predecessor.insert("event_id".to_owned(), event_id.as_str().into());
        }
        creation_content.insert("predecessor".to_owned(), predecessor.into());
        if !replacing.additional_creators.is_empty() {
            creation_content.insert("additional_creators".to_owned(), json!(replacing.additional_creators));
        }
        let new_room = NewRoom { creation_content, ..NewRoom::default() };
        create_content(&replacing.requester.user_id, replacing.version, &new_room)
    }
}

impl RoomCreation {
    /// Reads the state that is copied.
    pub(super) async fn blueprint(
        &self,
        old: &mut OpenRoom,
        replacing: &Replacing<'_>,
    ) -> Result<Blueprint, RoomError> {
        let Replacing { requester, version, .. } = *replacing;
        let create = old.state("m.room.create", "").await?.ok_or(RoomError::NoSuchRoom)?;
        let creation = creation(&create);
        let is_space = creation.get("type").and_then(Value::as_str) == Some("m.space");

        let mut state = Vec::new();
        for event_type in COPIED {
            if let Some(event) = old.state(event_type, "").await? {
                state.push(Draft::state(event_type, "", content_for(version, &event)?));
            }
        }
        self.copy_links(&replacing.state, version, "m.space.parent", &mut state).await?;
        if is_space {
            self.copy_links(&replacing.state, version, "m.space.child", &mut state).await?;
        }
        self.copy_bans(replacing, &mut state).await?;
        let power_levels = old.state("m.room.power_levels", "").await?;
        let levels = levels::in_force(&create, power_levels.as_ref())?;
        let creators = replacing.additional_creators.iter().map(|user_id| &**user_id).chain([&*requester.user_id]);
        let levels = levels::for_version(levels, &create, version, creators)?;
        state.push(Draft::state("m.room.power_levels", "", canonical(&levels)?));

        let upgrader = self.member(requester, &requester.user_id, Membership::Join, ContentMap::new()).await?;
        Ok(Blueprint { creation, upgrader, state })
    }

    /// Adds the events of a type that link to other rooms, without withdrawn links.
    async fn copy_links(
        &self,
        old: &FullState,
        version: RoomVersion,
        event_type: &str,
        state: &mut Vec<Draft>,
    ) -> Result<(), RoomError> {
        let type_sn = self.interned.event_type(event_type).await?;
        let links = self.database.current_state_of_type(old, type_sn).await?;
        for link in newest(links) {
            let content = wire::member(&link.client_json, "content").unwrap_or(b"{}");
            if wire::member(content, "via").is_some() {
                let content = CanonicalObject::parse_within(content, ParseLimits::event(version.numbers()))?;
                state.push(Draft::state(event_type, state_key(&link), content));
            }
        }
        Ok(())
    }

    /// Adds the bans, without those of the new creators, who cannot be banned.
    async fn copy_bans(&self, replacing: &Replacing<'_>, state: &mut Vec<Draft>) -> Result<(), RoomError> {
        let members = self.database.memberships_of_room(&replacing.state).await?;
        let banned = members.into_iter().filter(|member| member.membership == Membership::Ban);
        let mut sns: Vec<i64> = banned.map(|member| member.event_sn.0).collect();
        sns.sort_unstable();
        let sns = newest(sns).collect::<Vec<_>>();
        for ban in self.database.events(&sns).await? {
            let user_id = state_key(&ban);
            if replacing.additional_creators.iter().any(|creator| creator == &*user_id) {
                continue;
            }
            let content = wire::member(&ban.client_json, "content").unwrap_or(b"{}");
            let mut content = wire::values(content);
            // Other keys were signed for the old room.
            content.retain(|key, _| matches!(key.as_str(), "membership" | "reason" | "displayname" | "avatar_url"));
            state.push(Draft::state("m.room.member", user_id, canonical(&content)?));
        }
        Ok(())
    }
}

/// The last [`MAX_COPIED`] elements.
fn newest<T>(all: Vec<T>) -> impl Iterator<Item = T> {
    let surplus = all.len().saturating_sub(MAX_COPIED);
    all.into_iter().skip(surplus)
}

/// The keys of the create event that clients set, without those that belong to the old room alone.
fn creation(create: &Pdu) -> ContentMap {
    let mut creation = wire::values(create.content().as_bytes());
    for key in ["creator", "room_version", "predecessor", "additional_creators"] {
        creation.remove(key);
    }
    // The server that created the room may have accepted values of any type.
    creation.retain(|key, value| match key.as_str() {
        "type" => value.is_string(),
        "m.federate" => value.is_boolean(),
        _ => true,
    });
    creation
}

fn state_key(event: &StoredEvent) -> String {
    wire::member(&event.client_json, "state_key").and_then(string_value).unwrap_or_default().into_owned()
}

/// The content of a state event in a room of this version.
fn content_for(version: RoomVersion, event: &Pdu) -> Result<CanonicalObject, RoomError> {
    if event.event_type() == "m.room.join_rules" {
        return canonical(&join_rules_for(version, wire::values(event.content().as_bytes())));
    }
    Ok(CanonicalObject::parse_within(event.content().as_bytes(), ParseLimits::event(version.numbers()))?)
}

/// Join rules for a room version: a rule that the version does not have is replaced by the next stricter one.
fn join_rules_for(version: RoomVersion, mut content: ContentMap) -> ContentMap {
    let rules = &version.rules().authorization;
    let known = match content.get("join_rule").and_then(Value::as_str) {
        Some("knock_restricted") if !rules.knock_restricted_join_rule && rules.restricted_join_rule => "restricted",
        Some("knock_restricted") if !rules.knock_restricted_join_rule && rules.knocking => "knock",
        Some("knock_restricted") if !rules.knock_restricted_join_rule => "invite",
        Some("restricted") if !rules.restricted_join_rule => "invite",
        Some("knock") if !rules.knocking => "invite",
        _ => return content,
    };
    content.insert("join_rule".to_owned(), known.into());
    if known != "restricted" {
        content.remove("allow");
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule_in(version: RoomVersion, rule: &str) -> (String, bool) {
        let content = json!({ "join_rule": rule, "allow": [] });
        let content = join_rules_for(version, content.as_object().unwrap().clone());
        (content["join_rule"].as_str().unwrap().to_owned(), content.contains_key("allow"))
    }

    #[test]
    fn join_rules_become_rules_of_the_version_and_never_more_open() {
        use RoomVersion::{V6, V7, V8, V9, V10};
        for (version, rule, expected, keeps_conditions) in [
            (V6, "knock", "invite", false),
            (V7, "knock", "knock", true),
            (V7, "restricted", "invite", false),
            (V8, "restricted", "restricted", true),
            (V6, "knock_restricted", "invite", false),
            (V7, "knock_restricted", "knock", false),
            (V9, "knock_restricted", "restricted", true),
            (V10, "knock_restricted", "knock_restricted", true),
            (V6, "public", "public", true),
            (V6, "org.example.own", "org.example.own", true),
        ] {
            assert_eq!(rule_in(version, rule), (expected.to_owned(), keeps_conditions), "{rule} in {version}");
        }
    }
}
