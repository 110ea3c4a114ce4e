//! Which keys of events a client wants to have.

use std::collections::BTreeMap;

use homeserver_core::{HeapSize, allocation_bytes};
use room_engine::{MAX_NESTING, Members};
use serde::Deserialize;

use super::size::tree_bytes;

/// Levels of objects that paths lead into: those of events as clients send them, with their own, `unsigned` and an event in there.
const MAX_DEPTH: usize = MAX_NESTING + 3;

/// The keys of events that a client wants to have; all of them if it names none.
///
/// <https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths>
#[derive(Clone, Deserialize, Debug)]
#[serde(from = "Vec<String>")]
pub struct EventFields(Wanted);

#[derive(Clone, Debug)]
enum Wanted {
    Everything,
    /// These keys, each as it is written in JSON.
    Keys(BTreeMap<Box<[u8]>, Wanted>),
}

impl HeapSize for EventFields {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl HeapSize for Wanted {
    fn heap_bytes(&self) -> usize {
        let Self::Keys(keys) = self else { return 0 };
        let below = keys.iter().map(|(key, wanted)| allocation_bytes(key.len()) + wanted.heap_bytes());
        tree_bytes(keys) + below.sum::<usize>()
    }
}

impl From<Vec<String>> for EventFields {
    fn from(paths: Vec<String>) -> Self {
        if paths.is_empty() {
            return Self(Wanted::Everything);
        }
        let mut wanted = Wanted::Keys(BTreeMap::new());
        for path in &paths {
            let keys = split(path);
            // No stack has to be deeper. Events of other servers may be.
            if keys.len() <= MAX_DEPTH {
                wanted.add(&keys);
            }
        }
        Self(wanted)
    }
}

impl EventFields {
    /// Takes the other keys out of the event that begins at `start` and ends with `out`: JSON without spaces.
    pub fn retain(&self, out: &mut Vec<u8>, start: usize) {
        if let Wanted::Keys(keys) = &self.0 {
            let event = out.split_off(start);
            push(out, keys, &event);
        }
    }
}

impl Wanted {
    fn add(&mut self, path: &[Box<[u8]>]) {
        match (self, path) {
            (Self::Everything, _) => {}
            (wanted, []) => *wanted = Self::Everything,
            (Self::Keys(keys), [key, rest @ ..]) => {
                keys.entry(key.clone()).or_insert_with(|| Self::Keys(BTreeMap::new())).add(rest);
            }
        }
    }
}

/// Appends what is wanted of an object, and tells whether that is anything.
fn push(out: &mut Vec<u8>, keys: &BTreeMap<Box<[u8]>, Wanted>, object: &[u8]) -> bool {
    out.push(b'{');
    let mut is_first = true;
    for (key, value) in Members::new(object) {
        let Some(wanted) = keys.get(key) else { continue };
        let before = out.len();
        if !is_first {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
        let has_any = match wanted {
            Wanted::Everything => {
                out.extend_from_slice(value);
                true
            }
            Wanted::Keys(keys) => push(out, keys, value),
        };
        if has_any {
            is_first = false;
        } else {
            out.truncate(before);
        }
    }
    out.push(b'}');
    !is_first
}

/// The keys of a path. A backslash makes a dot or a backslash part of a key, and is itself before anything else.
fn split(path: &str) -> Vec<Box<[u8]>> {
    let mut keys = Vec::new();
    let mut key = String::new();
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '.' => keys.push(as_json(&std::mem::take(&mut key))),
            '\\' => key.push(characters.next_if(|next| matches!(next, '.' | '\\')).unwrap_or('\\')),
            _ => key.push(character),
        }
    }
    keys.push(as_json(&key));
    keys
}

/// The key as it stands between quotes in JSON.
fn as_json(key: &str) -> Box<[u8]> {
    let quoted = serde_json::Value::from(key).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().as_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(paths: &[&str], event: &str) -> String {
        let fields = EventFields::from(paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>());
        let mut out = b"before".to_vec();
        out.extend_from_slice(event.as_bytes());
        fields.retain(&mut out, b"before".len());
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn only_what_the_paths_lead_to_is_kept() {
        const EVENT: &str = r#"{"content":{"body":"a","m.relates_to":{"event_id":"$1","key":"k"},"n":[{"x":1}]},"type":"t","unsigned":{"age":5}}"#;
        for (paths, expected) in [
            (&[][..], EVENT),
            (&["type"], r#"{"type":"t"}"#),
            (&["content.body", "type"], r#"{"content":{"body":"a"},"type":"t"}"#),
            (
                &["content", "content.body"],
                r#"{"content":{"body":"a","m.relates_to":{"event_id":"$1","key":"k"},"n":[{"x":1}]}}"#,
            ),
            (
                &["content.body", "content"],
                r#"{"content":{"body":"a","m.relates_to":{"event_id":"$1","key":"k"},"n":[{"x":1}]}}"#,
            ),
            (&[r"content.m\.relates_to.key"], r#"{"content":{"m.relates_to":{"key":"k"}}}"#),
            (&["content.m.relates_to.key"], "{}"),
            (&["content.n.x", "content.body.x", "content.none", ""], "{}"),
            (&["unsigned.age", "content.none"], r#"{"unsigned":{"age":5}}"#),
        ] {
            assert_eq!(kept(paths, EVENT), expected, "{paths:?}");
        }
    }

    #[test]
    fn escapes_stand_for_dots_and_backslashes_and_nothing_else() {
        const EVENT: &str = r#"{"":1,"\"":2,"\\":3,"a.b":4,"m\\foo":5,"\n":6}"#;
        for (path, expected) in [
            ("", r#"{"":1}"#),
            ("\"", r#"{"\"":2}"#),
            (r"\\", r#"{"\\":3}"#),
            (r"\", r#"{"\\":3}"#),
            (r"a\.b", r#"{"a.b":4}"#),
            (r"m\\foo", r#"{"m\\foo":5}"#),
            (r"m\foo", r#"{"m\\foo":5}"#),
            ("\n", r#"{"\n":6}"#),
        ] {
            assert_eq!(kept(&[path], EVENT), expected, "{path:?}");
        }
    }

    #[test]
    fn a_path_deeper_than_any_event_is_no_trouble() {
        let deep = ".".repeat(60_000);
        assert_eq!(kept(&[&deep, "a"], r#"{"a":1}"#), r#"{"a":1}"#);
        let event = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        assert_eq!(kept(&[&vec!["a"; 100].join(".")], &event), event);
    }
}
