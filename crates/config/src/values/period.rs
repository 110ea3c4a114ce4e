use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parsed;

/// A length of time, written with its unit: `"500ms"`, `"30s"`, `"10m"`, `"1h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

/// Longer periods are mistakes, and overflow clocks.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
const EXPECTED: &str = "a duration from \"1ms\" to ten years, such as \"30s\", \"10m\" or \"1h\"";

impl Period {
    pub(crate) const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub(crate) const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    pub(crate) const fn of(duration: Duration) -> Self {
        Self(duration)
    }

    /// The same length of time in the type that timers take.
    pub const fn duration(self) -> Duration {
        self.0
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let duration = humantime::parse_duration(text).ok()?;
        (Duration::from_millis(1)..=LONGEST).contains(&duration).then_some(Self(duration))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(formatter)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, EXPECTED, Self::parse)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": EXPECTED })
    }
}

#[cfg(test)]
mod tests {
    use super::Period;

    #[test]
    fn a_period_is_written_the_way_it_was_read() {
        for text in ["500ms", "30s", "10m", "1h", "1h 30m"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_period_needs_a_unit_and_a_sensible_length() {
        for text in ["", "30", "0s", "-1s", "11y", "soon", "99999999999999999999s"] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }
}
