//! What a filter can say.

use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;

use crate::object::Object;

/// A filter for `/sync`.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#filtering>
#[derive(Clone, Default, Deserialize, Debug)]
#[serde(default)]
pub struct FilterDefinition {
    /// Dot-separated paths of the event fields to include; all if absent.
    pub event_fields: Option<Vec<String>>,
    /// The form of events.
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
    pub senders: Option<Vec<OwnedUserId>>,
    /// But for those of these senders.
    pub not_senders: Vec<OwnedUserId>,
    /// Those of these types, in which `*` stands for anything; all if absent.
    pub types: Option<Vec<String>>,
    /// But for those of these types, in which `*` stands for anything.
    pub not_types: Vec<String>,
}

/// What to include of rooms.
#[derive(Clone, Default, Deserialize, Debug)]
#[serde(default)]
pub struct RoomFilter {
    /// These rooms; all if absent.
    pub rooms: Option<Vec<OwnedRoomId>>,
    /// But for these rooms.
    pub not_rooms: Vec<OwnedRoomId>,
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
#[serde(default)]
pub struct RoomEventFilter {
    /// What it has in common with other filters.
    #[serde(flatten)]
    pub events: EventFilter,
    /// Those in these rooms; all if absent.
    pub rooms: Option<Vec<OwnedRoomId>>,
    /// But for those in these rooms.
    pub not_rooms: Vec<OwnedRoomId>,
    /// Those with (or without) a `url` in their content; either if absent.
    pub contains_url: Option<bool>,
    /// Membership events only of those who sent something.
    pub lazy_load_members: bool,
    /// With lazy loading: also those that the client has been given before.
    pub include_redundant_members: bool,
    /// Unread counts for each thread.
    pub unread_thread_notifications: bool,
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
        let is_among = |patterns: &[String]| patterns.iter().any(|pattern| is_match(pattern, event_type));
        self.types.as_deref().is_none_or(is_among) && !is_among(&self.not_types)
    }

    /// Whether events of this sender are included.
    #[must_use]
    pub fn includes_sender(&self, sender: &str) -> bool {
        let is_among = |senders: &[OwnedUserId]| senders.iter().any(|user_id| user_id == sender);
        self.senders.as_deref().is_none_or(is_among) && !is_among(&self.not_senders)
    }
}

impl RoomFilter {
    /// Whether anything of this room is included.
    #[must_use]
    pub fn includes_room(&self, room_id: &str) -> bool {
        includes_room(self.rooms.as_deref(), &self.not_rooms, room_id)
    }
}

impl RoomEventFilter {
    /// Whether events of this room are included.
    #[must_use]
    pub fn includes_room(&self, room_id: &str) -> bool {
        includes_room(self.rooms.as_deref(), &self.not_rooms, room_id)
    }
}

fn includes_room(rooms: Option<&[OwnedRoomId]>, not_rooms: &[OwnedRoomId], room_id: &str) -> bool {
    let is_among = |rooms: &[OwnedRoomId]| rooms.iter().any(|room| room == room_id);
    rooms.is_none_or(is_among) && !is_among(not_rooms)
}

/// Whether the text is the pattern's, in which `*` stands for any characters. Takes time proportional to the product of both at worst.
fn is_match(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.split_at(at + piece.len()).1;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text) in [("m.room.*", "m.room.name"), ("*", ""), ("*", "x"), ("a*b*c", "a-b-b-c"), ("m.*.name", "m.room.name"), ("a", "a")] {
            assert!(is_match(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("m.room", "m.room.name"), ("a*b*c", "ac"), ("ab*ba", "aba"), ("", "x"), ("*a", "ab")] {
            assert!(!is_match(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn an_event_is_included_unless_something_speaks_against_it() {
        let filter: EventFilter = serde_json::from_str(r#"{"types": ["m.*"], "not_types": ["m.b"], "not_senders": ["@b:x"]}"#).unwrap();
        assert!(filter.includes("m.a", "@a:x"));
        assert!(!filter.includes("m.b", "@a:x"));
        assert!(!filter.includes("m.a", "@b:x"));
        assert!(!filter.includes("x", "@a:x"));
        let none: EventFilter = serde_json::from_str(r#"{"types": []}"#).unwrap();
        assert!(!none.includes("m.a", "@a:x"));
    }

    #[test]
    fn a_filter_of_wrong_types_is_refused() {
        for text in [
            r#"{"room": {"timeline": {"limit": "5"}}}"#,
            r#"{"room": {"timeline": {"limit": -1}}}"#,
            r#"{"room": []}"#,
            r#"{"room": {"rooms": ["x"]}}"#,
            r#"{"room": {"state": {"types": [1]}}}"#,
            r#"{"room": {"state": {"lazy_load_members": "yes"}}}"#,
            r#"{"event_format": "other"}"#,
            r#"{"event_fields": [5]}"#,
            r#"{"presence": {"senders": ["alice"]}}"#,
        ] {
            assert!(serde_json::from_str::<FilterDefinition>(text).is_err(), "{text}");
        }
        let filter: FilterDefinition =
            serde_json::from_str(r#"{"room": {"state": {"lazy_load_members": true, "types": ["m.room.*"]}}, "x": 1}"#).unwrap();
        assert!(filter.room.0.state.0.lazy_load_members);
        assert_eq!(filter.room.0.state.0.events.types.unwrap(), ["m.room.*"]);
    }
}
