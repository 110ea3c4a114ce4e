//! [Canonical JSON](https://spec.matrix.org/v1.19/appendices/#canonical-json), kept as bytes.
//!
//! An event is hashed, signed, stored and sent as canonical JSON, so its text is the form in which the engine keeps
//! it: reading makes canonical bytes in one pass, and everything later copies slices of them.

mod number;
mod reader;
mod scan;
mod writer;

use bytes::Bytes;
use serde::Serialize;

use crate::{EventError, MAX_EVENT_BYTES, MAX_NESTING};

use reader::Reader;
pub use scan::{Members, elements, member, nesting, string_value};
pub(crate) use scan::{compare_keys, integer_value};
pub(crate) use writer::{ObjectWriter, push_string};

/// Which numbers are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Integers of the canonical range only, as in room versions 6 and later.
    Strict,
    /// Every JSON number, in a normal form, as in room versions 1 to 5.
    Lenient,
}

/// The bounds of what is read.
#[derive(Debug, Clone, Copy)]
pub struct ParseLimits {
    /// Which numbers are let through.
    pub numbers: Numbers,
    /// The most bytes that the canonical form may have.
    pub max_bytes: usize,
    /// The most levels of objects and arrays.
    pub max_nesting: usize,
}

impl ParseLimits {
    /// The bounds of an event's content that comes from a client.
    pub const fn content(numbers: Numbers) -> Self {
        Self { numbers, max_bytes: MAX_EVENT_BYTES, max_nesting: MAX_NESTING }
    }

    /// The bounds of an event of whatever server, and of its parts: its bytes alone.
    pub const fn event(numbers: Numbers) -> Self {
        Self { numbers, max_bytes: MAX_EVENT_BYTES, max_nesting: usize::MAX }
    }
}

/// A JSON object in canonical form. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalObject(Bytes);

impl CanonicalObject {
    /// Reads the content of an event as clients send it.
    ///
    /// Of a key that occurs twice the last one counts, as in every JSON library in use by other servers; anything
    /// else would make the hash of an event depend on who reads it.
    ///
    /// # Errors
    /// When `json` is not JSON, not an object, not canonical under `numbers`, or beyond the limits of events.
    pub fn parse(json: &[u8], numbers: Numbers) -> Result<Self, EventError> {
        Self::parse_within(json, ParseLimits::content(numbers))
    }

    /// Reads an object within the given limits.
    ///
    /// # Errors
    /// As [`CanonicalObject::parse`].
    pub fn parse_within(json: &[u8], limits: ParseLimits) -> Result<Self, EventError> {
        Reader::new(json, limits)?.document().map(|bytes| Self(bytes.into()))
    }

    /// The canonical form of a serialisable value.
    ///
    /// # Errors
    /// As [`CanonicalObject::parse`].
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T, numbers: Numbers) -> Result<Self, EventError> {
        let json = serde_json::to_vec(value)
            .map_err(|_| EventError::NotJson { offset: 0, reason: "the value cannot be written as JSON" })?;
        Self::parse(&json, numbers)
    }

    /// The object `{}`.
    pub const fn empty() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// Takes bytes that are known to be canonical, such as a slice of another canonical object.
    pub(crate) const fn from_canonical(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The canonical JSON.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The canonical JSON, sharing memory.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The keys and values, in order, as canonical JSON.
    pub fn members(&self) -> Members<'_> {
        Members::new(&self.0)
    }

    /// The canonical JSON of the value of a key, when there.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        member(&self.0, key)
    }

    /// This object with a member added or replaced. `key` must need no escapes and `value` must be canonical JSON.
    pub(crate) fn with_member(&self, key: &str, value: &[u8]) -> Self {
        let mut members: Vec<_> = self.members().filter(|(name, _)| *name != key.as_bytes()).collect();
        let at = members.partition_point(|(name, _)| compare_keys(name, key.as_bytes()).is_lt());
        members.insert(at, (key.as_bytes(), value));
        let mut out = Vec::with_capacity(self.0.len() + key.len() + value.len() + 4);
        let mut writer = ObjectWriter::begin(&mut out);
        for (name, value) in members {
            writer.raw_key(name).extend_from_slice(value);
        }
        writer.end();
        Self(out.into())
    }

    /// The text of a key whose value is a string.
    pub fn string(&self, key: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.value(key).and_then(string_value)
    }
}

#[cfg(test)]
mod tests;
