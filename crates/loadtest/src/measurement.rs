//! What a scenario found: counts, latencies, CPU time, further figures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::matrix::{Failure, Reply};

/// Everything seen while one part of a scenario ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    latencies_us: Vec<u64>,
    errors: BTreeMap<String, u64>,
    rate_limited: u64,
}

impl Tally {
    /// Counts one operation by its outcome.
    pub(crate) fn record(&mut self, outcome: &Result<Reply, Failure>) {
        match outcome {
            Ok(reply) => {
                self.latency(reply.latency);
                self.rate_limited += u64::from(reply.rate_limited);
            }
            Err(failure) => {
                self.error(failure.to_string());
                self.rate_limited += u64::from(failure.rate_limited);
            }
        }
    }

    pub(crate) fn latency(&mut self, latency: Duration) {
        self.latencies_us.push(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn error(&mut self, reason: String) {
        *self.errors.entry(reason).or_default() += 1;
    }

    /// Why operations failed, and how often.
    pub(crate) fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// Operations that succeeded.
    pub(crate) fn operations(&self) -> u64 {
        self.latencies_us.len() as u64
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        self.rate_limited += other.rate_limited;
        for (reason, count) in other.errors {
            *self.errors.entry(reason).or_default() += count;
        }
    }

    pub(crate) fn percentiles(mut self) -> Option<Latency> {
        self.latencies_us.sort_unstable();
        Latency::of_sorted(&self.latencies_us)
    }
}

/// Latencies in milliseconds. A percentile is the smallest observation that at least that share of all
/// observations do not exceed (nearest rank).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latency {
    fn of_sorted(sorted_us: &[u64]) -> Option<Self> {
        let max = *sorted_us.last()?;
        let ms = |us: u64| us as f64 / 1000.0;
        let rank = |percent: usize| {
            let position = (sorted_us.len() * percent).div_ceil(100).max(1) - 1;
            ms(sorted_us.get(position).copied().unwrap_or(max))
        };
        let sum: u64 = sorted_us.iter().sum();
        Some(Self { mean: ms(sum) / sorted_us.len() as f64, p50: rank(50), p95: rank(95), p99: rank(99), max: ms(max) })
    }
}

/// Wall-clock and CPU time of the measured part.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) elapsed: Duration,
    /// Absent where no process was given.
    pub(crate) cpu: Option<Duration>,
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.elapsed += other.elapsed;
        self.cpu = match (self.cpu, other.cpu) {
            (Some(one), Some(two)) => Some(one + two),
            (one, two) => one.or(two),
        };
    }
}

/// A figure beside latency and CPU time, such as memory per client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

/// One row of the result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    /// The scenario and its variant, such as `send, 32 in 32`.
    pub(crate) name: String,
    /// Operations that succeeded.
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    pub(crate) rate_per_second: Option<f64>,
    pub(crate) latency_ms: Option<Latency>,
    pub(crate) cpu_ms_per_operation: Option<f64>,
    pub(crate) cpu_ms: Option<f64>,
    pub(crate) errors: BTreeMap<String, u64>,
    /// Answers of status 429, each of which was waited out and repeated.
    pub(crate) rate_limited: u64,
    pub(crate) figures: Vec<Figure>,
}

impl Measurement {
    pub(crate) fn new(name: impl Into<String>, tally: Tally, spent: Spent) -> Self {
        let operations = tally.operations();
        let seconds = spent.elapsed.as_secs_f64();
        let cpu_ms = spent.cpu.map(|cpu| cpu.as_secs_f64() * 1000.0);
        let any = operations > 0;
        Self {
            name: name.into(),
            operations,
            seconds,
            rate_per_second: (any && seconds > 0.0).then(|| operations as f64 / seconds),
            cpu_ms_per_operation: cpu_ms.filter(|_| any).map(|ms| ms / operations as f64),
            cpu_ms,
            errors: tally.errors.clone(),
            rate_limited: tally.rate_limited,
            latency_ms: tally.percentiles(),
            figures: Vec::new(),
        }
    }

    /// Whether operations were tried and none succeeded.
    pub(crate) fn is_all_errors(&self) -> bool {
        self.operations == 0 && !self.errors.is_empty()
    }

    /// A row that holds figures only.
    pub(crate) fn of_figures(name: impl Into<String>, figures: Vec<Figure>) -> Self {
        let row = Self::new(name, Tally::default(), Spent::default());
        Self { figures, ..row }
    }

    pub(crate) fn figure(mut self, name: &'static str, unit: &'static str, value: f64) -> Self {
        self.figures.push(Figure { name, unit, value });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_observations_of_nearest_rank() {
        let sorted: Vec<u64> = (1..=200).map(|n| n * 1000).collect();
        let latency = Latency::of_sorted(&sorted).unwrap();
        assert_eq!((latency.p50, latency.p95, latency.p99), (100.0, 190.0, 198.0));
        assert_eq!((latency.mean, latency.max), (100.5, 200.0));
    }

    #[test]
    fn one_observation_is_every_percentile() {
        let latency = Latency::of_sorted(&[1500]).unwrap();
        assert_eq!((latency.p50, latency.p99, latency.max), (1.5, 1.5, 1.5));
    }

    #[test]
    fn no_observation_has_no_percentile() {
        assert_eq!(Latency::of_sorted(&[]), None);
    }

    #[test]
    fn cpu_time_is_divided_by_the_operations_that_succeeded() {
        let mut tally = Tally::default();
        tally.latency(Duration::from_millis(2));
        tally.latency(Duration::from_millis(4));
        tally.error("500 M_UNKNOWN".into());
        let spent = Spent { elapsed: Duration::from_secs(1), cpu: Some(Duration::from_millis(30)) };
        let row = Measurement::new("send", tally, spent);
        assert_eq!(row.cpu_ms_per_operation, Some(15.0));
        assert_eq!(row.rate_per_second, Some(2.0));
        assert_eq!(row.errors.get("500 M_UNKNOWN"), Some(&1));
    }

    #[test]
    fn a_row_of_nothing_but_errors_is_told_from_an_empty_one() {
        let mut tally = Tally::default();
        tally.error("500 M_UNKNOWN".into());
        assert!(Measurement::new("send", tally, Spent::default()).is_all_errors());
        assert!(!Measurement::new("idle", Tally::default(), Spent::default()).is_all_errors());
    }

    #[test]
    fn a_row_without_operations_has_no_rate() {
        let row = Measurement::new("send", Tally::default(), Spent::default());
        assert_eq!((row.rate_per_second, row.cpu_ms_per_operation), (None, None));
    }
}
