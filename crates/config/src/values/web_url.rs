use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use super::parsed;

/// An `http` or `https` URL, kept without a slash at its end so that a path can follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl(String);

impl WebUrl {
    /// The URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        (matches!(url.scheme(), "http" | "https") && url.has_host() && plain)
            .then(|| Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for WebUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WebUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "an http or https URL such as \"https://matrix.example.org\"", Self::parse)
    }
}

impl JsonSchema for WebUrl {
    fn schema_name() -> Cow<'static, str> {
        "WebUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^https?://" })
    }
}

#[cfg(test)]
mod tests {
    use super::WebUrl;

    #[test]
    fn a_slash_at_the_end_is_dropped() {
        assert_eq!(WebUrl::parse("https://matrix.example.org/").unwrap().as_str(), "https://matrix.example.org");
        assert_eq!(WebUrl::parse("http://[::1]:8008/m/").unwrap().as_str(), "http://[::1]:8008/m");
    }

    #[test]
    fn other_schemes_and_decorated_urls_are_refused() {
        for text in ["", "example.org", "ftp://example.org", "https://a/?q", "https://a/#f", "https://u:p@a/"] {
            assert_eq!(WebUrl::parse(text), None, "{text}");
        }
    }
}
