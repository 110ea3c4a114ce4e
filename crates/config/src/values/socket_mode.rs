use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parsed;

/// Who may connect to a unix socket, as the bits of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct SocketMode(u32);

impl SocketMode {
    /// The permission bits, at most `0o777`.
    pub fn bits(self) -> u32 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let is_octal = matches!(text.len(), 3 | 4) && text.chars().all(|digit| digit.is_digit(8));
        let bits = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten()?;
        (bits <= 0o777).then_some(Self(bits))
    }
}

/// The owner and the group.
impl Default for SocketMode {
    fn default() -> Self {
        Self(0o660)
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

impl Serialize for SocketMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "the mode of a file in octal digits such as \"0660\"", Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::SocketMode;

    #[test]
    fn a_mode_is_octal_and_about_permissions_alone() {
        assert_eq!(SocketMode::parse("0660"), Some(SocketMode::default()));
        assert_eq!(SocketMode::parse("777").unwrap().to_string(), "0777");
        for text in ["", "66", "0o660", "0680", "1777", "+660", "00660"] {
            assert_eq!(SocketMode::parse(text), None, "{text}");
        }
    }
}
