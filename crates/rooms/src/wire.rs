//! Events in the format of clients: the stored bytes are copied, and what depends on the reader is inserted before the last
//! brace. No event is parsed or serialised again.

use std::collections::HashMap;

use homeserver_core::{DeviceSn, EventSn, Timestamp};
pub use room_engine::member;
use room_engine::{MAX_NESTING, Members, nesting, string_value};
use serde_json::{Map, Value};
use storage::{Membership, StoredEvent};

/// The reader of an event, and the place in the answer where it is written.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The room ID, where the answer does not name it elsewhere.
    pub room_id: Option<&'a str>,
    /// The time, from which `unsigned.age` is computed.
    pub now: Timestamp,
    /// The reader's device, which sees the transaction IDs of what it sent.
    pub device_sn: Option<DeviceSn>,
    /// What relates to the events, as far as it is told with them.
    pub bundles: Option<&'a Bundles>,
}

/// What relates to events, as it is told with them in `unsigned`.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>
#[derive(Default, Debug)]
pub struct Bundles(HashMap<EventSn, Vec<u8>>);

impl Bundles {
    /// Sets the object `m.relations` of an event, as JSON.
    pub fn insert(&mut self, event_sn: EventSn, json: Vec<u8>) {
        self.0.insert(event_sn, json);
    }

    /// Takes out what relates to these events.
    #[must_use]
    pub fn take(&mut self, events: impl IntoIterator<Item = EventSn>) -> Self {
        if self.0.is_empty() {
            return Self::default();
        }
        Self(events.into_iter().filter_map(|sn| self.0.remove_entry(&sn)).collect())
    }

    /// Whether the event has an `m.relations` with this key.
    #[must_use]
    pub fn has(&self, event_sn: EventSn, key: &str) -> bool {
        self.0.get(&event_sn).is_some_and(|json| member(json, key).is_some())
    }
}

/// About the bytes that [`write_event`] adds to an event's stored text, for reserving buffers.
pub const ADDED_BYTES: usize = 192;

/// Appends an event in the client format.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#room-event-format>
pub fn write_event(out: &mut Vec<u8>, event: &StoredEvent, reader: &Reader<'_>, membership: Option<Membership>) {
    out.reserve(event.client_json.len() + ADDED_BYTES);
    push_open(out, &event.client_json, reader.room_id);
    out.extend_from_slice(br#","unsigned":{"age":"#);
    push_number(out, reader.now.0.saturating_sub(event.origin_server_ts.0).max(0));
    if let Some(membership) = membership {
        out.extend_from_slice(br#","membership":""#);
        out.extend_from_slice(membership.as_str().as_bytes());
        out.push(b'"');
    }
    if let Some(replaced) = &event.replaced_json {
        push_replaced(out, replaced);
    }
    if let Some((device_sn, transaction_id)) = &event.transaction
        && Some(*device_sn) == reader.device_sn
    {
        out.extend_from_slice(br#","transaction_id":"#);
        push_string(out, transaction_id);
    }
    if let Some(bundle) = reader.bundles.and_then(|bundles| bundles.0.get(&event.sn)) {
        out.extend_from_slice(br#","m.relations":"#);
        out.extend_from_slice(bundle);
    }
    if let Some(redaction) = &event.redacted_because {
        out.extend_from_slice(br#","redacted_because":"#);
        push_open(out, redaction, reader.room_id);
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
}

/// Appends an event as stripped state, for users who are not in the room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>
pub fn write_stripped(out: &mut Vec<u8>, client_json: &[u8]) {
    out.push(b'{');
    let mut is_first = true;
    for (key, value) in Members::new(client_json) {
        if matches!(key, b"content" | b"sender" | b"state_key" | b"type") {
            if !is_first {
                out.push(b',');
            }
            is_first = false;
            out.push(b'"');
            out.extend_from_slice(key);
            out.extend_from_slice(b"\":");
            out.extend_from_slice(value);
        }
    }
    out.push(b'}');
}

/// Appends `items`, separated by commas, in brackets.
pub fn write_list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Appends a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // Strings cannot fail to serialise, and a vector takes every write.
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.extend_from_slice(b"\"\"");
    }
}

/// Appends an integer.
pub fn push_number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// The values of a canonical JSON object, such as the content of an event. A value that is nested deeper than clients may
/// send is left out, so that it does not make the others unreadable.
#[must_use]
pub fn values(object: &[u8]) -> Map<String, Value> {
    let members = Members::new(object).filter(|(_, value)| nesting(value) < MAX_NESTING);
    let values = members.filter_map(|(key, value)| {
        let key = [b"\"", key, b"\""].concat();
        Some((string_value(&key)?.into_owned(), serde_json::from_slice(value).ok()?))
    });
    values.collect()
}

/// Appends the object without its last brace, and with the room ID.
fn push_open(out: &mut Vec<u8>, client_json: &[u8], room_id: Option<&str>) {
    match redaction_parts(client_json) {
        Some(parts) => push_redaction(out, parts),
        None => out.extend_from_slice(client_json.strip_suffix(b"}").unwrap_or(client_json)),
    }
    if let Some(room_id) = room_id {
        out.extend_from_slice(br#","room_id":"#);
        push_string(out, room_id);
    }
}

/// The content of a redaction, what follows it, and the event that it redacts.
struct RedactionParts<'a> {
    content: &'a [u8],
    rest: &'a [u8],
    redacts: &'a [u8],
}

fn redaction_parts(client_json: &[u8]) -> Option<RedactionParts<'_>> {
    // The type is the last key of every event, so this comparison is all that other events cost.
    if !client_json.ends_with(br#","type":"m.room.redaction"}"#) {
        return None;
    }
    let content = member(client_json, "content")?;
    let rest = client_json.strip_prefix(br#"{"content":"#)?.get(content.len()..)?.strip_suffix(b"}")?;
    Some(RedactionParts { content, rest, redacts: member(client_json, "redacts")? })
}

/// Appends a redaction with `redacts` in its content as well, where newer clients look for it in rooms of all versions.
///
/// <https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property>
fn push_redaction(out: &mut Vec<u8>, RedactionParts { content, rest, redacts }: RedactionParts<'_>) {
    out.extend_from_slice(br#"{"content":{"#);
    for (key, value) in Members::new(content).filter(|(key, _)| *key != b"redacts") {
        out.push(b'"');
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
        out.push(b',');
    }
    out.extend_from_slice(br#""redacts":"#);
    out.extend_from_slice(redacts);
    out.push(b'}');
    out.extend_from_slice(rest);
}

fn push_replaced(out: &mut Vec<u8>, replaced: &[u8]) {
    for (key, value) in Members::new(replaced) {
        match key {
            b"content" => out.extend_from_slice(br#","prev_content":"#),
            b"event_id" => out.extend_from_slice(br#","replaces_state":"#),
            // Not in the specification; other servers have it, and clients show it.
            b"sender" => out.extend_from_slice(br#","prev_sender":"#),
            _ => continue,
        }
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(client_json: &str) -> String {
        let mut out = Vec::new();
        push_open(&mut out, client_json.as_bytes(), None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_redaction_says_at_both_places_what_it_redacts() {
        let redaction = |content: &str, redacts: &str| {
            format!(r#"{{"content":{content},"event_id":"$r"{redacts},"type":"m.room.redaction""#)
        };
        let top = r#","redacts":"$a""#;
        for (content, expected) in [
            ("{}", r#"{"redacts":"$a"}"#),
            (r#"{"reason":"x"}"#, r#"{"reason":"x","redacts":"$a"}"#),
            (r#"{"redacts":"$a"}"#, r#"{"redacts":"$a"}"#),
            (r#"{"reason":"x","redacts":5,"z":{"redacts":1}}"#, r#"{"reason":"x","z":{"redacts":1},"redacts":"$a"}"#),
        ] {
            assert_eq!(opened(&format!("{}}}", redaction(content, top))), redaction(expected, top));
        }
        // A redacted redaction has no target, nor has any other event.
        for whole in
            [redaction("{}", ""), r#"{"content":{"type":"m.room.redaction"},"redacts":"$a","type":"m.x""#.to_owned()]
        {
            assert_eq!(opened(&format!("{whole}}}")), whole);
        }
    }

    #[test]
    fn a_value_nested_too_deep_does_not_hide_the_others() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let content = format!(r#"{{"a\"b":1,"deep":{},"deeper":{},"name":"x"}}"#, deep(MAX_NESTING), deep(30_000));
        assert_eq!(values(content.as_bytes()), *serde_json::json!({ "a\"b": 1, "name": "x" }).as_object().unwrap());
        let content = format!(r#"{{"deep":{}}}"#, deep(MAX_NESTING - 1));
        assert_eq!(values(content.as_bytes()).len(), 1);
        assert!(values(b"[]").is_empty() && values(b"").is_empty());
    }
}
