//! A room to test with.

use ruma::{OwnedRoomId, RoomId};
use serde_json::{Value, json};

use crate::{
    CanonicalObject, Numbers, Pdu, RoomVersion,
    auth::{AuthError, AuthState, check},
};

pub(super) const CREATOR: &str = "@creator:one";
pub(super) const ALICE: &str = "@alice:one";
pub(super) const BOB: &str = "@bob:two";
pub(super) const CAROL: &str = "@carol:two";
pub(super) const USERS: [&str; 4] = [CREATOR, ALICE, BOB, CAROL];

/// A room and the state in it.
pub(super) struct TestRoom {
    pub(super) version: RoomVersion,
    pub(super) create: Pdu,
    pub(super) state: AuthState,
}

impl TestRoom {
    /// A room with nothing but its create event.
    pub(super) fn new(version: RoomVersion, mut content: Value) -> Self {
        content["room_version"] = json!(version.as_str());
        if version < RoomVersion::V11 {
            content["creator"] = json!(CREATOR);
        }
        let room_id: Option<OwnedRoomId> = (version < RoomVersion::V12).then(|| RoomId::parse("!room:one").unwrap());
        let create = event_of(version, room_id, CREATOR, "m.room.create", Some(""), &content, &[]);
        let state = AuthState::from_iter([create.clone()]);
        Self { version, create, state }
    }

    /// A public room that the creator is in, with these power levels.
    pub(super) fn public(version: RoomVersion, power_levels: &Value) -> Self {
        let mut room = Self::new(version, json!({}));
        room.put(CREATOR, "m.room.member", CREATOR, json!({ "membership": "join" }));
        room.put(CREATOR, "m.room.power_levels", "", power_levels.clone());
        room.put(CREATOR, "m.room.join_rules", "", json!({ "join_rule": "public" }));
        room
    }

    pub(super) fn put(&mut self, sender: &str, event_type: &str, state_key: &str, content: Value) -> Pdu {
        let event = self.event(sender, event_type, Some(state_key), &content);
        self.state.insert(event.clone());
        event
    }

    pub(super) fn join(&mut self, user: &str) {
        self.put(user, "m.room.member", user, json!({ "membership": "join" }));
    }

    /// An event that follows two others.
    pub(super) fn event(&self, sender: &str, event_type: &str, state_key: Option<&str>, content: &Value) -> Pdu {
        self.event_after(&["$before:one", "$beside:one"], sender, event_type, state_key, content)
    }

    pub(super) fn event_after(
        &self,
        prev_events: &[&str],
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> Pdu {
        let room_id = Some(self.create.room_id().to_owned());
        event_of(self.version, room_id, sender, event_type, state_key, content, prev_events)
    }

    pub(super) fn check(
        &self,
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> Result<(), AuthError> {
        check(&self.event(sender, event_type, state_key, content), &self.state)
    }

    /// What the sender is told.
    pub(super) fn refusal(&self, sender: &str, event_type: &str, state_key: Option<&str>, content: &Value) -> String {
        self.check(sender, event_type, state_key, content).unwrap_err().to_string()
    }
}

/// An event without hashes and signatures, which the rules do not look at.
fn event_of(
    version: RoomVersion,
    room_id: Option<OwnedRoomId>,
    sender: &str,
    event_type: &str,
    state_key: Option<&str>,
    content: &Value,
    prev_events: &[&str],
) -> Pdu {
    let in_pairs = version < RoomVersion::V3;
    let reference = |id: &&str| if in_pairs { json!([id, { "sha256": "hash" }]) } else { json!(id) };
    let server = if in_pairs { ":one" } else { "" };
    let event_id = format!("${event_type}|{}{server}", state_key.unwrap_or("none").replace(':', "|"));
    let room_id = room_id.unwrap_or_else(|| RoomId::parse(event_id.replace('$', "!")).unwrap());
    let mut client = json!({
        "content": content, "event_id": event_id, "origin_server_ts": 1, "sender": sender, "type": event_type,
    });
    if let Some(state_key) = state_key {
        client["state_key"] = json!(state_key);
    }
    if let Some(redacts) = content.get("redacts") {
        client["redacts"] = redacts.clone();
    }
    let federation = json!({
        "auth_events": [], "depth": 5, "prev_events": prev_events.iter().map(reference).collect::<Vec<_>>(),
    });
    let canonical = |value| CanonicalObject::from_serialize(value, Numbers::Strict).unwrap().to_bytes();
    Pdu::from_stored(version, room_id, canonical(&client), canonical(&federation)).unwrap()
}
