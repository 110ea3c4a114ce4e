use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Period, parsed};

/// When something is done again and again: `"daily at 03:00"` (UTC), or `"every 6h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// At intervals.
    Every(Period),
    /// Every day at this time (UTC).
    DailyAt {
        /// From 0 to 23.
        hour: u8,
        /// From 0 to 59.
        minute: u8,
    },
}

const EXPECTED: &str = "when to do it, such as \"daily at 03:00\" (UTC) or \"every 6h\", at least \"every 1m\"";
const SHORTEST: Duration = Duration::from_secs(60);

impl Schedule {
    fn parse(text: &str) -> Option<Self> {
        if let Some(interval) = text.strip_prefix("every ") {
            return Period::parse(interval).filter(|it| it.duration() >= SHORTEST).map(Self::Every);
        }
        let (hour, minute) = text.strip_prefix("daily at ")?.split_once(':')?;
        let number = |digits: &str, below: u8| {
            let is_plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u8>().ok().filter(|number| is_plain && *number < below)
        };
        Some(Self::DailyAt { hour: number(hour, 24)?, minute: number(minute, 60)? })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(interval) => write!(formatter, "every {interval}"),
            Self::DailyAt { hour, minute } => write!(formatter, "daily at {hour:02}:{minute:02}"),
        }
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, EXPECTED, Self::parse)
    }
}

impl JsonSchema for Schedule {
    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": EXPECTED })
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn a_schedule_is_written_the_way_it_was_read() {
        for text in ["daily at 03:00", "daily at 23:59", "every 6h", "every 1m"] {
            assert_eq!(Schedule::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_schedule_has_a_time_of_the_day_or_an_interval_of_a_minute_at_least() {
        for text in
            ["", "daily", "daily at 3:00", "daily at 24:00", "daily at 03:60", "daily at +3:00", "every", "every 59s"]
        {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
    }
}
