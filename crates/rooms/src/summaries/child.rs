//! The rooms of a space, as its state names them.

use std::cmp::Ordering;

use homeserver_core::{HeapSize, allocation_bytes};
use room_engine::{CanonicalObject, Members, Numbers, ParseLimits, elements, member, string_value};
use ruma::{OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// So many servers of a child are kept.
const MAX_SERVERS: usize = 10;
/// The longest `order`.
const MAX_ORDER_BYTES: usize = 50;
/// Of the event of another server.
const LIMITS: ParseLimits = ParseLimits { numbers: Numbers::Lenient, max_bytes: 64 << 10, max_nesting: 100 };

/// A room that is in a space by an `m.space.child` event.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#mspacechild>
#[derive(Clone, Debug)]
pub struct SpaceChild {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers by which it can be reached.
    pub servers: Vec<OwnedServerName>,
    /// Whether it is suggested to those who join the space.
    pub is_suggested: bool,
    /// Where it is among the others, by the text.
    order: Option<String>,
    /// When it was put into the space: milliseconds since 1970.
    sent_at: i64,
    /// The event, stripped but for its time.
    stripped: Box<str>,
}

impl SpaceChild {
    /// The child that an event in canonical JSON names; `None` if it names none, for example because it was taken out again.
    #[must_use]
    pub fn of(event: &[u8]) -> Option<Self> {
        let text = |object, key| member(object, key).and_then(string_value);
        let content = member(event, "content")?;
        let room_id = RoomId::parse(text(event, "state_key")?).ok()?;
        if text(event, "type")? != "m.space.child" {
            return None;
        }
        let names = elements(member(content, "via")?).filter_map(string_value);
        let servers: Vec<_> = names.filter_map(|name| ServerName::parse(name).ok()).take(MAX_SERVERS).collect();
        if servers.is_empty() {
            return None;
        }
        let is_order =
            |order: &str| order.len() <= MAX_ORDER_BYTES && order.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let sent_at = std::str::from_utf8(member(event, "origin_server_ts")?).ok()?.parse().ok()?;
        Some(Self {
            room_id,
            servers,
            is_suggested: member(content, "suggested") == Some(b"true"),
            order: text(content, "order").filter(|order| is_order(order)).map(Into::into),
            sent_at,
            stripped: stripped(event)?,
        })
    }

    /// The order of the rooms of a space.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space>
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let by_order = self.order.is_none().cmp(&other.order.is_none()).then_with(|| self.order.cmp(&other.order));
        by_order.then_with(|| self.sent_at.cmp(&other.sent_at)).then_with(|| self.room_id.cmp(&other.room_id))
    }
}

/// The event with the keys that a summary has of it.
fn stripped(event: &[u8]) -> Option<Box<str>> {
    let mut out = vec![b'{'];
    for (key, value) in Members::new(event) {
        if matches!(key, b"content" | b"origin_server_ts" | b"sender" | b"state_key" | b"type") {
            if out.len() > 1 {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(key);
            out.extend_from_slice(b"\":");
            out.extend_from_slice(value);
        }
    }
    out.push(b'}');
    Some(String::from_utf8(out).ok()?.into())
}

impl Serialize for SpaceChild {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.stripped).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl HeapSize for SpaceChild {
    fn heap_bytes(&self) -> usize {
        let servers: usize = self.servers.iter().map(|server| allocation_bytes(server.as_str().len())).sum();
        allocation_bytes(self.room_id.as_str().len())
            + servers
            + allocation_bytes(self.servers.capacity() * size_of::<OwnedServerName>())
            + self.order.heap_bytes()
            + self.stripped.heap_bytes()
    }
}

/// Children as another server tells them. What names no child is left out.
pub(super) fn told_children<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SpaceChild>, D::Error> {
    let events: Vec<Box<RawValue>> = Vec::deserialize(deserializer)?;
    let children = events.iter().filter_map(|event| {
        let event = CanonicalObject::parse_within(event.get().as_bytes(), LIMITS).ok()?;
        SpaceChild::of(event.as_bytes())
    });
    Ok(children.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(room: &str, content: &str, sent_at: i64) -> Option<SpaceChild> {
        let event = format!(
            r#"{{"content":{content},"event_id":"$x","origin_server_ts":{sent_at},"sender":"@a:x","state_key":"{room}","type":"m.space.child"}}"#
        );
        SpaceChild::of(event.as_bytes())
    }

    #[test]
    fn children_are_in_the_order_of_their_texts_then_of_their_times_then_of_their_ids() {
        let via = |order: &str| format!(r#"{{{order}"via":["x"]}}"#);
        let long = format!(r#""order":"{}","#, "a".repeat(51));
        let mut children: Vec<SpaceChild> = [
            ("!g:x", via(""), 2),
            ("!f:x", via(""), 2),
            ("!e:x", via(r#""order":7,"#), 1),
            ("!d:x", via(&long), 3),
            ("!c:x", via(r#""order":"b","#), 1),
            ("!b:x", via(r#""order":"a","#), 9),
            ("!a:x", via(r#""order":"","#), 9),
        ]
        .iter()
        .map(|(room, content, sent_at)| child(room, content, *sent_at).unwrap())
        .collect();
        children.sort_by(SpaceChild::compare);
        let rooms: Vec<&str> = children.iter().map(|child| child.room_id.as_str()).collect();
        assert_eq!(rooms, ["!a:x", "!b:x", "!c:x", "!e:x", "!f:x", "!g:x", "!d:x"]);
    }

    #[test]
    fn a_room_without_servers_is_no_child() {
        for content in ["{}", r#"{"via":[]}"#, r#"{"via":"x"}"#, r#"{"via":[1]}"#, r#"{"via":{"x":1}}"#] {
            assert!(child("!a:x", content, 1).is_none(), "{content}");
        }
        assert!(child("a", r#"{"via":["x"]}"#, 1).is_none());
        let known = child("!a:x", r#"{"suggested":true,"via":["x"]}"#, 1).unwrap();
        assert!(known.is_suggested);
        let expected = r#"{"content":{"suggested":true,"via":["x"]},"origin_server_ts":1,"sender":"@a:x","state_key":"!a:x","type":"m.space.child"}"#;
        assert_eq!(serde_json::to_string(&known).unwrap(), expected);
    }
}
