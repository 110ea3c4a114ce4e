//! Types of single values: each says in its error what it expected.

mod address_range;
mod bind;
mod database_url;
mod names;
mod numbers;
mod period;
mod rate;
mod schedule;
mod secret;
mod share;
mod size;
mod socket_mode;
mod web_url;

pub use address_range::AddressRange;
pub use bind::Bind;
pub use database_url::{DatabaseEngine, DatabaseUrl};
pub(crate) use names::{room_version, server_name};
pub(crate) use numbers::{some_whole_number, whole_number};
pub use period::Period;
pub(crate) use rate::rate_per_second;
pub use schedule::Schedule;
pub use secret::Secret;
pub use share::Share;
pub use size::ByteSize;
pub(crate) use size::size_between;
pub use socket_mode::SocketMode;
pub use web_url::WebUrl;

/// Parses a text. The error of a text that does not parse names what was expected.
///
/// Going through a visitor rather than `String` puts the same expectation into the error of a wrong type.
pub(crate) fn parsed<'de, D, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
{
    struct Text<T> {
        expected: &'static str,
        parse: fn(&str) -> Option<T>,
    }

    impl<T> serde::de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str(self.expected)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            (self.parse)(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(Text { expected, parse })
}

/// As [`parsed`], for values that must not be repeated in an error.
pub(crate) fn parsed_unseen<'de, D, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
{
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        Other(serde::de::IgnoredAny),
    }

    let parsed = match serde::Deserialize::deserialize(deserializer)? {
        Given::Text(text) => parse(&text),
        Given::Other(serde::de::IgnoredAny) => None,
    };
    parsed.ok_or_else(|| serde::de::Error::custom(format_args!("invalid value: expected {expected}")))
}
