//! How often a job is tried.

use std::time::Duration;

use homeserver_core::Timestamp;

/// How often, and for how long, a job is tried.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// How often at most.
    pub attempts: u32,
    /// For how long at most, from when it was scheduled.
    pub max_age: Duration,
    /// The pause after the first failure; each one after it is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Retry {
    /// From a second to an hour apart, for a week.
    pub const DEFAULT: Self = Self {
        attempts: 200,
        max_age: Duration::from_secs(7 * 24 * 3600),
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(3600),
    };

    /// When a job is tried again that has failed for the `attempt`th time, or why it is not. `luck`, from 0 to 1, shortens
    /// the pause by up to a half, so that jobs that failed together do not run again together.
    pub(super) fn next(
        &self,
        attempt: i64,
        scheduled_at: Timestamp,
        now: Timestamp,
        luck: f64,
    ) -> Result<Timestamp, String> {
        if attempt >= i64::from(self.attempts) {
            return Err(format!("given up after {attempt} attempts"));
        }
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(30);
        let pause = self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause);
        let due_at = now.plus(pause.mul_f64(1.0 - luck.clamp(0.0, 1.0) / 2.0));
        if due_at.since(scheduled_at) > self.max_age {
            return Err(format!("given up after {} s", now.since(scheduled_at).as_secs()));
        }
        Ok(due_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_700_000_000_000);

    #[test]
    fn pauses_double_up_to_the_longest_and_luck_shortens_them_by_half_at_most() {
        let retry = Retry { longest_pause: Duration::from_secs(10), ..Retry::DEFAULT };
        let pause = |attempt, luck| retry.next(attempt, START, START, luck).unwrap().since(START).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 60].map(|attempt| pause(attempt, 0.0)), [1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!([1, 2, 5].map(|attempt| pause(attempt, 1.0)), [500, 1000, 5000]);
        assert_eq!(pause(2, 0.5), 1500);
    }

    #[test]
    fn too_many_attempts_or_too_high_an_age_are_the_end() {
        let retry = Retry { attempts: 3, max_age: Duration::from_secs(60), ..Retry::DEFAULT };
        assert!(retry.next(2, START, START, 0.0).is_ok());
        assert_eq!(retry.next(3, START, START, 0.0).unwrap_err(), "given up after 3 attempts");
        assert!(retry.next(1, START, START.plus(Duration::from_secs(59)), 0.0).is_ok());
        let old = retry.next(1, START, START.plus(Duration::from_millis(59_500)), 0.0);
        assert_eq!(old.unwrap_err(), "given up after 59 s");
    }
}
