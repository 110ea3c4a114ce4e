use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

/// A number from 0, nothing, to 1, everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

impl Share {
    /// Everything.
    pub const ALL: Self = Self(1.0);

    /// The number.
    pub fn ratio(self) -> f64 {
        self.0
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(ShareVisitor)
    }
}

struct ShareVisitor;

impl Visitor<'_> for ShareVisitor {
    type Value = Share;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number from 0 to 1")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Share, E> {
        if (0.0..=1.0).contains(&number) {
            Ok(Share(number))
        } else {
            Err(E::invalid_value(Unexpected::Float(number), &self))
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Share, E> {
        match number {
            0 => Ok(Share(0.0)),
            1 => Ok(Share(1.0)),
            _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Share, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn a_share_is_from_0_to_1_with_or_without_a_point() {
        let parse = |text: &str| toml::from_str::<toml::Table>(text).unwrap()["x"].clone().try_into::<Share>();
        for (text, ratio) in [("x = 0", 0.0), ("x = 0.25", 0.25), ("x = 1", 1.0), ("x = 1.0", 1.0)] {
            assert!((parse(text).unwrap().ratio() - ratio).abs() < f64::EPSILON, "{text}");
        }
        for text in ["x = -1", "x = 1.01", "x = 2", "x = nan", "x = inf", "x = '0.5'"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("expected a number from 0 to 1"), "{text}: {error}");
        }
    }
}
