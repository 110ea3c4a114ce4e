//! The index of full-text search.
//!
//! [`terms`] takes texts and search terms apart, in a way that finds parts of words, and words of scripts that put no spaces between
//! them. [`block`] is the form in which messages and terms are stored. What the index finds may have the searched words: the texts
//! decide. [`Words`] compares.

pub(crate) mod block;
mod terms;

pub(crate) use self::terms::{Words, terms_of};

use crate::wire::member;

/// The types of the events in which is searched, each with the key of its content that has the text.
pub(crate) const SEARCHED: [(&str, &str); 3] =
    [("m.room.message", "body"), ("m.room.name", "name"), ("m.room.topic", "topic")];

/// The text of an event in which is searched; `None` if it has none.
pub(crate) fn searched_text(client_json: &[u8]) -> Option<(&'static str, String)> {
    let text = |object, key| member(object, key).and_then(room_engine::string_value);
    let event_type = text(client_json, "type")?;
    let (_, key) = SEARCHED.into_iter().find(|(searched, _)| *searched == event_type)?;
    Some((key, text(member(client_json, "content")?, key)?.into_owned()))
}
