//! Relations between events.

use std::borrow::Cow;

use crate::canonical::{member, string_value};

/// What an event says of its relation to another event.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relation<'a> {
    /// The kind of the relation.
    pub rel_type: Cow<'a, str>,
    /// The event that it relates to.
    pub event_id: Cow<'a, str>,
    /// What an annotation says, such as an emoji.
    pub key: Option<Cow<'a, str>>,
}

impl<'a> Relation<'a> {
    /// The relation in an event in canonical JSON; `None` if it has none. A reply alone is no relation of a kind.
    #[must_use]
    pub fn of(event: &'a [u8]) -> Option<Self> {
        Self::in_content(member(event, "content")?)
    }

    /// The relation in the content of an event, in canonical JSON.
    #[must_use]
    pub fn in_content(content: &'a [u8]) -> Option<Self> {
        let relates_to = member(content, "m.relates_to")?;
        let text = |key| member(relates_to, key).and_then(string_value);
        Some(Self { rel_type: text("rel_type")?, event_id: text("event_id")?, key: text("key") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_has_a_type_and_an_event() {
        let of = |content: &str| {
            let event = format!(r#"{{"content":{content},"type":"m.room.message"}}"#);
            Relation::of(event.as_bytes()).map(|it| (it.rel_type.into_owned(), it.event_id.into_owned()))
        };
        let thread = r#"{"m.relates_to":{"event_id":"$a","rel_type":"m.thread"}}"#;
        assert_eq!(of(thread), Some(("m.thread".to_owned(), "$a".to_owned())));
        for none in [
            "{}",
            r#"{"m.relates_to":{"m.in_reply_to":{"event_id":"$a"}}}"#,
            r#"{"m.relates_to":{"event_id":5,"rel_type":"m.thread"}}"#,
            r#"{"m.relates_to":{"event_id":"$a"}}"#,
            r#"{"m.relates_to":[]}"#,
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn only_a_text_is_the_key_of_an_annotation() {
        let key = |key: &str| {
            let content = format!(r#"{{"m.relates_to":{{"event_id":"$a","key":{key},"rel_type":"m.annotation"}}}}"#);
            Relation::in_content(content.as_bytes()).map(|it| it.key.map(Cow::into_owned))
        };
        assert_eq!(key(r#""👍""#), Some(Some("👍".to_owned())));
        assert_eq!(key("7"), Some(None));
    }
}
