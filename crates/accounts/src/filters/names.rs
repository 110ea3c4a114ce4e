//! Sets of names in filters, in the form in which looking one up is fastest.

use std::collections::HashSet;

use homeserver_core::HeapSize;
use ruma::{RoomId, UserId};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Event types, in which `*` stands for any characters.
#[derive(Clone, Default, Debug)]
pub struct TypePatterns {
    exact: HashSet<Box<str>>,
    with_stars: Vec<Box<str>>,
}

impl TypePatterns {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.with_stars.is_empty()
    }

    /// Whether one of them is this type.
    #[must_use]
    pub fn contains(&self, event_type: &str) -> bool {
        self.exact.contains(event_type) || self.with_stars.iter().any(|pattern| is_match(pattern, event_type))
    }
}

impl HeapSize for TypePatterns {
    fn heap_bytes(&self) -> usize {
        self.exact.heap_bytes() + self.with_stars.heap_bytes()
    }
}

impl FromIterator<Box<str>> for TypePatterns {
    fn from_iter<I: IntoIterator<Item = Box<str>>>(types: I) -> Self {
        let (with_stars, exact): (Vec<_>, Vec<_>) = types.into_iter().partition(|pattern| pattern.contains('*'));
        Self { exact: exact.into_iter().collect(), with_stars }
    }
}

impl<'de> Deserialize<'de> for TypePatterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Box<str>>::deserialize(deserializer)?.into_iter().collect())
    }
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident of $id:ty, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Default, Debug)]
        pub struct $name(HashSet<Box<str>>);

        impl $name {
            /// Whether there are none.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// Whether this is one of them.
            #[must_use]
            pub fn contains(&self, id: &str) -> bool {
                self.0.contains(id)
            }

            /// All of them, in any order.
            pub fn iter(&self) -> impl Iterator<Item = &str> {
                self.0.iter().map(|id| &**id)
            }
        }

        impl HeapSize for $name {
            fn heap_bytes(&self) -> usize {
                self.0.heap_bytes()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let ids = HashSet::<Box<str>>::deserialize(deserializer)?;
                match ids.iter().find_map(|id| <&$id>::try_from(&**id).err().map(|error| (id, error))) {
                    Some((id, error)) => Err(D::Error::custom(format!("{id:?} is not {}: {error}", $what))),
                    None => Ok(Self(ids)),
                }
            }
        }
    )*};
}

identifiers! {
    /// User IDs.
    UserIds of UserId, "a user ID";
    /// Room IDs.
    RoomIds of RoomId, "a room ID";
}

/// Whether the text is the pattern's, in which `*` stands for any characters. Takes at worst time proportional to the product
/// of their lengths.
fn is_match(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text) in [
            ("m.room.*", "m.room.name"),
            ("*", ""),
            ("*", "x"),
            ("**", "x"),
            ("a*b*c", "a-b-b-c"),
            ("m.*.name", "m.room.name"),
            ("a", "a"),
            ("a*", "a"),
        ] {
            assert!(is_match(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("m.room", "m.room.name"), ("a*b*c", "ac"), ("ab*ba", "aba"), ("", "x"), ("*a", "ab"), ("m.*", "M.room")]
        {
            assert!(!is_match(pattern, text), "{pattern} {text}");
        }
    }
}
