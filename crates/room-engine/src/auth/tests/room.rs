//! A room to test with.

use ruma::{OwnedRoomId, RoomId, ServerName, UserId, signatures::Ed25519KeyPair};
use serde_json::{Value, json};

use crate::{
    CanonicalObject, EventBuilder, EventReference, Numbers, Pdu, RoomVersion,
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
    key_pair: Ed25519KeyPair,
}

impl TestRoom {
    /// A room with nothing but its create event.
    pub(super) fn new(version: RoomVersion, mut content: Value) -> Self {
        content["room_version"] = json!(version.as_str());
        if version < RoomVersion::V11 {
            content["creator"] = json!(CREATOR);
        }
        let key_pair = crate::event::tests::key_pair();
        let room_id: Option<OwnedRoomId> = (version < RoomVersion::V12).then(|| RoomId::parse("!room:one").unwrap());
        let create =
            build(version, room_id.as_deref(), &key_pair, CREATOR, "m.room.create", Some(""), &content, &[], 0);
        let state = AuthState::from_iter([create.clone()]);
        Self { version, create, state, key_pair }
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
        let room_id = Some(self.create.room_id());
        build(self.version, room_id, &self.key_pair, sender, event_type, state_key, content, prev_events, 0)
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

#[expect(clippy::too_many_arguments, reason = "the parts of an event")]
pub(super) fn build(
    version: RoomVersion,
    room_id: Option<&RoomId>,
    key_pair: &Ed25519KeyPair,
    sender: &str,
    event_type: &str,
    state_key: Option<&str>,
    content: &Value,
    prev_events: &[&str],
    origin_server_ts: i64,
) -> Pdu {
    let reference = |id: &&str| EventReference { event_id: (*id).try_into().unwrap(), sha256: Some("hash".into()) };
    let prev_events: Vec<_> = prev_events.iter().map(reference).collect();
    let given = format!("${}-{}:one", event_type.len(), state_key.unwrap_or_default().len());
    EventBuilder {
        version,
        room_id,
        event_id: Some(given.as_str().try_into().unwrap()),
        sender: <&UserId>::try_from(sender).unwrap(),
        event_type,
        state_key,
        content: CanonicalObject::from_serialize(content, Numbers::Strict).unwrap(),
        redacts: None,
        prev_events: &prev_events,
        auth_events: &[],
        depth: 5,
        origin_server_ts,
    }
    .build(<&ServerName>::try_from("one").unwrap(), key_pair)
    .unwrap()
    .pdu
}
