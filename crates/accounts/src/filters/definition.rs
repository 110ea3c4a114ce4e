//! What a filter can say.

use std::collections::HashSet;

use serde::Deserialize;

use super::fields::EventFields;
use super::names::{RoomIds, TypePatterns, UserIds};
use crate::object::Object;

/// A filter for `/sync`.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#filtering>
#[derive(Clone, Default, Deserialize, Debug)]
#[serde(default)]
pub struct FilterDefinition {
    /// Which keys of the rooms' events to include; all if absent.
    pub event_fields: Option<EventFields>,
    /// The form of the rooms' events.
    pub event_format: EventFormat,
    /// Which presence updates to include.
    pub presence: Object<EventFilter>,
    /// Which global account data to include.
    pub account_data: Object<EventFilter>,
    /// What to include of rooms.
    pub room: Object<RoomFilter>,
}

/// The form of events in an answer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum EventFormat {
    /// As clients use them.
    #[default]
    Client,
    /// As servers exchange them.
    Federation,
}

/// Which events to include.
#[derive(Clone, Default, Deserialize, Debug)]
#[serde(default)]
pub struct EventFilter {
    /// At most so many.
    pub limit: Option<u64>,
    /// Those of these senders; all if absent.
    pub senders: Option<UserIds>,
    /// But for those of these senders.
    pub not_senders: UserIds,
    /// Those of these types, in which `*` stands for anything; all if absent.
    pub types: Option<TypePatterns>,
    /// But for those of these types, in which `*` stands for anything.
    pub not_types: TypePatterns,
}

/// What to include of rooms.
#[derive(Clone, Default, Deserialize, Debug)]
#[serde(default)]
pub struct RoomFilter {
    /// These rooms; all if absent.
    pub rooms: Option<RoomIds>,
    /// But for these rooms.
    pub not_rooms: RoomIds,
    /// Whether to include rooms that the user has left.
    pub include_leave: bool,
    /// Which state events.
    pub state: Object<RoomEventFilter>,
    /// Which events of the timeline.
    pub timeline: Object<RoomEventFilter>,
    /// Which ephemeral events.
    pub ephemeral: Object<RoomEventFilter>,
    /// Which account data of rooms.
    pub account_data: Object<RoomEventFilter>,
}

/// Which events of rooms to include; also the filter of `/messages`, `/context` and others.
#[derive(Clone, Default, Deserialize, Debug)]
#[serde(from = "Keys")]
pub struct RoomEventFilter {
    /// What it has in common with other filters.
    pub events: EventFilter,
    /// Those in these rooms; all if absent.
    pub rooms: Option<RoomIds>,
    /// But for those in these rooms.
    pub not_rooms: RoomIds,
    /// Those with (or without) a `url` in their content; either if absent.
    pub contains_url: Option<bool>,
    /// Membership events only of users who sent an event of the timeline.
    pub lazy_load_members: bool,
    /// With lazy loading: also those that the client has been given before.
    pub include_redundant_members: bool,
    /// Unread counts for each thread.
    pub unread_thread_notifications: bool,
    /// Those to which an event of one of these users relates; all if absent.
    pub related_by_senders: Option<UserIds>,
    /// Those to which an event relates in one of these ways; all if absent.
    pub related_by_rel_types: Option<HashSet<Box<str>>>,
}

/// The keys of a [`RoomEventFilter`] side by side, as they are written. `#[serde(flatten)]` would lose the name of a bad one.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    limit: Option<u64>,
    senders: Option<UserIds>,
    not_senders: UserIds,
    types: Option<TypePatterns>,
    not_types: TypePatterns,
    rooms: Option<RoomIds>,
    not_rooms: RoomIds,
    contains_url: Option<bool>,
    lazy_load_members: bool,
    include_redundant_members: bool,
    unread_thread_notifications: bool,
    related_by_senders: Option<UserIds>,
    related_by_rel_types: Option<HashSet<Box<str>>>,
}

impl From<Keys> for RoomEventFilter {
    fn from(keys: Keys) -> Self {
        let Keys { limit, senders, not_senders, types, not_types, .. } = keys;
        Self {
            events: EventFilter { limit, senders, not_senders, types, not_types },
            rooms: keys.rooms,
            not_rooms: keys.not_rooms,
            contains_url: keys.contains_url,
            lazy_load_members: keys.lazy_load_members,
            include_redundant_members: keys.include_redundant_members,
            unread_thread_notifications: keys.unread_thread_notifications,
            related_by_senders: keys.related_by_senders,
            related_by_rel_types: keys.related_by_rel_types,
        }
    }
}

impl EventFilter {
    /// Whether events of all types and senders are included.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.senders.is_none() && self.not_senders.is_empty() && self.types.is_none() && self.not_types.is_empty()
    }

    /// Whether events of this type and sender are included.
    #[must_use]
    pub fn includes(&self, event_type: &str, sender: &str) -> bool {
        self.includes_type(event_type) && self.includes_sender(sender)
    }

    /// Whether events of this type are included.
    #[must_use]
    pub fn includes_type(&self, event_type: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(event_type)) && !self.not_types.contains(event_type)
    }

    /// Whether events of this sender are included.
    #[must_use]
    pub fn includes_sender(&self, sender: &str) -> bool {
        self.senders.as_ref().is_none_or(|senders| senders.contains(sender)) && !self.not_senders.contains(sender)
    }
}

impl RoomFilter {
    /// Whether anything of this room is included.
    #[must_use]
    pub fn includes_room(&self, room_id: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.contains(room_id)) && !self.not_rooms.contains(room_id)
    }
}

impl RoomEventFilter {
    /// Whether events of this room are included.
    #[must_use]
    pub fn includes_room(&self, room_id: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.contains(room_id)) && !self.not_rooms.contains(room_id)
    }

    /// Whether every event of the rooms is included.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.events.is_open() && self.contains_url.is_none() && !self.asks_relations()
    }

    /// Whether it depends on the events that relate to an event whether that is included.
    #[must_use]
    pub fn asks_relations(&self) -> bool {
        self.related_by_senders.is_some() || self.related_by_rel_types.is_some()
    }

    /// Whether an event of the rooms is included, whatever relates to it. Its client JSON is looked into only for what the filter asks for.
    #[must_use]
    pub fn includes_event(&self, client_json: &[u8]) -> bool {
        let text = |key| room_engine::member(client_json, key).and_then(room_engine::string_value).unwrap_or_default();
        self.contains_url.is_none_or(|wanted| wanted == has_url(client_json))
            && (self.events.is_open() || self.events.includes(&text("type"), &text("sender")))
    }
}

/// Whether the content of an event has a `url`.
fn has_url(client_json: &[u8]) -> bool {
    let content = room_engine::member(client_json, "content").unwrap_or_default();
    room_engine::member(content, "url").is_some_and(|url| url.starts_with(b"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_included_unless_something_speaks_against_it() {
        let filter: EventFilter =
            serde_json::from_str(r#"{"types": ["m.*"], "not_types": ["m.b"], "not_senders": ["@b:x"]}"#).unwrap();
        assert!(filter.includes("m.a", "@a:x"));
        assert!(!filter.includes("m.b", "@a:x"));
        assert!(!filter.includes("m.a", "@b:x"));
        assert!(!filter.includes("x", "@a:x"));
        let none: EventFilter = serde_json::from_str(r#"{"types": []}"#).unwrap();
        assert!(!none.includes("m.a", "@a:x"));
    }

    #[test]
    fn each_key_chooses_events() {
        const TEXT: &[u8] = br#"{"content":{"body":"x"},"event_id":"$1","sender":"@a:x","type":"m.room.message"}"#;
        const IMAGE: &[u8] =
            br#"{"content":{"url":"mxc://a/b"},"event_id":"$2","sender":"@b:x","type":"m.room.message"}"#;
        const NAME: &[u8] = br#"{"content":{},"event_id":"$3","sender":"@a:x","state_key":"","type":"m.room.name"}"#;
        for (json, expected) in [
            ("{}", [true, true, true]),
            (r#"{"types": ["m.room.message"]}"#, [true, true, false]),
            (r#"{"types": ["m.*.name", "x"]}"#, [false, false, true]),
            (r#"{"types": []}"#, [false, false, false]),
            (r#"{"not_types": ["m.room.message"]}"#, [false, false, true]),
            (r#"{"types": ["m.*"], "not_types": ["*name"]}"#, [true, true, false]),
            (r#"{"senders": ["@a:x"]}"#, [true, false, true]),
            (r#"{"senders": []}"#, [false, false, false]),
            (r#"{"not_senders": ["@a:x"]}"#, [false, true, false]),
            (r#"{"senders": ["@a:x"], "not_senders": ["@a:x"]}"#, [false, false, false]),
            (r#"{"contains_url": true}"#, [false, true, false]),
            (r#"{"contains_url": false}"#, [true, false, true]),
        ] {
            let filter: RoomEventFilter = serde_json::from_str(json).unwrap();
            assert_eq!([TEXT, IMAGE, NAME].map(|event| filter.includes_event(event)), expected, "{json}");
        }
    }

    #[test]
    fn a_filter_of_wrong_types_is_refused_and_the_key_named() {
        for (json, key) in [
            (r#"{"room": {"timeline": {"limit": "5"}}}"#, "room.timeline.limit"),
            (r#"{"room": {"timeline": {"limit": -1}}}"#, "room.timeline.limit"),
            (r#"{"room": []}"#, "room"),
            (r#"{"room": {"rooms": ["x"]}}"#, "room.rooms"),
            (r#"{"room": {"state": {"types": [1]}}}"#, "room.state.types[0]"),
            (r#"{"room": {"state": {"lazy_load_members": "yes"}}}"#, "room.state.lazy_load_members"),
            (r#"{"room": {"ephemeral": null}}"#, "room.ephemeral"),
            (r#"{"event_format": "other"}"#, "event_format"),
            (r#"{"event_fields": [5]}"#, "event_fields[0]"),
            (r#"{"presence": {"senders": ["alice"]}}"#, "presence.senders"),
        ] {
            let error = crate::filters::parse(json).unwrap_err().to_string();
            assert!(error.contains(&format!(": {key}: ")), "{json}: {error}");
        }
        for json in ["[]", "5", "", "{} x", "null", "{"] {
            assert!(crate::filters::parse(json).is_err(), "{json}");
        }
        let filter: FilterDefinition =
            serde_json::from_str(r#"{"room": {"state": {"lazy_load_members": true, "types": ["m.room.*"]}}, "x": 1}"#)
                .unwrap();
        assert!(filter.room.0.state.0.lazy_load_members);
        assert!(filter.room.0.state.0.events.includes_type("m.room.name"));
    }
}
