use std::fmt;

use serde::{Deserialize, Deserializer};

/// The longest ID.
const MAX_BYTES: usize = 255;

/// The ID of media on its server: letters, digits, `_` and `-`, so that it can do no harm in a path.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#security-considerations-5>
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MediaId(String);

impl MediaId {
    /// `None` if it cannot be one.
    #[must_use]
    pub fn parse(text: String) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        ((1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)).then_some(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for MediaId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MediaId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text).ok_or_else(|| {
            serde::de::Error::custom(
                "a media ID has up to 255 letters, digits, underscores and hyphens, and nothing else",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::MediaId;

    #[test]
    fn nothing_that_means_something_in_a_path_is_an_id() {
        for text in ["", ".", "..", "../a", "a/b", "a%2f", "ä", "a b", "a\0", &"a".repeat(256)] {
            assert_eq!(MediaId::parse(text.to_owned()), None, "{text}");
        }
        for text in ["a", "-_-", "AZaz09", &"a".repeat(255)] {
            assert!(MediaId::parse(text.to_owned()).is_some(), "{text}");
        }
    }
}
