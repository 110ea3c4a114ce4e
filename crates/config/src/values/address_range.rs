use std::{borrow::Cow, fmt, net::IpAddr};

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parsed;

/// An IP address, or a range of them: `"127.0.0.1"`, `"10.0.0.0/8"`, `"fd00::/8"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange(IpNet);

const EXPECTED: &str = "an IP address or a range of them, such as \"127.0.0.1\", \"10.0.0.0/8\" or \"fd00::/8\"";

impl AddressRange {
    /// The range; of a single address, the one that holds nothing else.
    pub const fn network(self) -> IpNet {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(single).map(|network| Self(network.trunc()))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(formatter)
        } else {
            self.0.fmt(formatter)
        }
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, EXPECTED, Self::parse)
    }
}

impl JsonSchema for AddressRange {
    fn schema_name() -> Cow<'static, str> {
        "AddressRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": EXPECTED })
    }
}

#[cfg(test)]
mod tests {
    use super::AddressRange;

    #[test]
    fn addresses_and_ranges_are_written_the_way_they_were_read() {
        for text in ["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "0.0.0.0/0"] {
            assert_eq!(AddressRange::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(AddressRange::parse("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0", "*", "10.0.0.1:80", "10.0.0.0-10.0.0.9"] {
            assert_eq!(AddressRange::parse(text), None, "{text}");
        }
    }
}
