//! When recurring jobs run.

use std::fmt;
use std::time::Duration;

use homeserver_core::Timestamp;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// A job with an interval first runs after this time.
const FIRST: Duration = Duration::from_secs(60);

/// When something is done again and again. However many nodes there are, it is done once each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// At intervals.
    Every(Duration),
    /// Every day at this time (UTC).
    DailyAt {
        /// From 0 to 23.
        hour: u8,
        /// From 0 to 59.
        minute: u8,
    },
}

impl Schedule {
    /// When it is done for the first time, if it begins now.
    pub(super) fn first(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Every(interval) => now.plus(interval.min(FIRST)),
            Self::DailyAt { .. } => self.after(now),
        }
    }

    /// When it is done next, if it has just been done.
    pub(super) fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Every(interval) => now.plus(interval),
            Self::DailyAt { hour, minute } => {
                let in_day = (i64::from(hour) * 60 + i64::from(minute)) * 60_000;
                let today = now.0.div_euclid(DAY_MS) * DAY_MS + in_day;
                Timestamp(if today > now.0 { today } else { today.saturating_add(DAY_MS) })
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(interval) => write!(formatter, "every {} ms", interval.as_millis()),
            Self::DailyAt { hour, minute } => write!(formatter, "daily at {hour:02}:{minute:02}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_its_time_once() {
        let daily = Schedule::DailyAt { hour: 3, minute: 30 };
        let at = |hours: i64, minutes: i64| Timestamp(1_700_006_400_000 + (hours * 60 + minutes) * 60_000);
        assert_eq!(at(0, 0).0 % DAY_MS, 0, "a midnight");
        assert_eq!(daily.after(at(0, 0)), at(3, 30));
        assert_eq!(daily.after(at(3, 29)), at(3, 30));
        assert_eq!(daily.after(at(3, 30)), at(27, 30));
        assert_eq!(daily.first(at(23, 59)), at(27, 30));
    }

    #[test]
    fn an_interval_begins_soon_and_goes_on_at_its_length() {
        let hourly = Schedule::Every(Duration::from_secs(3600));
        assert_eq!(hourly.first(Timestamp(0)), Timestamp(60_000));
        assert_eq!(hourly.after(Timestamp(60_000)), Timestamp(3_660_000));
        assert_eq!(Schedule::Every(Duration::from_secs(5)).first(Timestamp(0)), Timestamp(5_000));
    }
}
