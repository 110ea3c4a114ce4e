//! The state by which a room is shown to people who are not in it.

use std::collections::HashMap;

use homeserver_core::{RoomSn, TypeSn};
use serde_json::Value;
use storage::{Database, Interned, StorageError};

use crate::ContentMap;
use crate::wire;

/// The types of the state events, whose state keys are empty.
const TYPES: [&str; 9] = [
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.join_rules",
    "m.room.create",
    "m.room.encryption",
];

/// The contents of the state events that a room is shown by.
#[derive(Default, Debug)]
pub(crate) struct ShownState(Vec<(&'static str, ContentMap)>);

impl ShownState {
    /// Those of many rooms.
    pub(crate) async fn of_rooms(
        database: &Database,
        interned: &Interned,
        rooms: &[i64],
    ) -> Result<HashMap<RoomSn, Self>, StorageError> {
        let mut types: HashMap<TypeSn, &'static str> = HashMap::new();
        for event_type in TYPES {
            types.extend(interned.find_type(event_type).await?.map(|type_sn| (type_sn, event_type)));
        }
        let mut found: HashMap<RoomSn, Self> = HashMap::new();
        let Some(key_sn) = interned.find_key("").await? else { return Ok(found) };
        let type_sns: Vec<i64> = types.keys().map(|type_sn| type_sn.0).collect();
        for (room_sn, type_sn, json) in database.state_json_of_rooms(rooms, &type_sns, key_sn).await? {
            if let Some(event_type) = types.get(&type_sn) {
                let content = wire::values(wire::member(&json, "content").unwrap_or_default());
                found.entry(room_sn).or_default().0.push((event_type, content));
            }
        }
        Ok(found)
    }

    /// A value in the content of the event of a type.
    pub(crate) fn value(&self, event_type: &str, key: &str) -> Option<&Value> {
        let (_, content) = self.0.iter().find(|(known, _)| *known == event_type)?;
        content.get(key)
    }

    /// A text there.
    pub(crate) fn text(&self, event_type: &str, key: &str) -> Option<&str> {
        self.value(event_type, key)?.as_str()
    }
}
