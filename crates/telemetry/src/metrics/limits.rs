//! What limits on heavy work count.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};

use super::{Metrics, MetricsError, counters, registered};

/// The metrics of limits on how much runs at once, for each limit by its name.
#[derive(Clone)]
pub struct LimitMetrics {
    wait_seconds: HistogramVec,
    refused: IntCounterVec,
    running: IntGaugeVec,
    waiting: IntGaugeVec,
}

/// From no wait to the longest usual one.
const WAIT_SECONDS: [f64; 9] = [0.0001, 0.001, 0.01, 0.05, 0.25, 1.0, 2.5, 10.0, 30.0];

impl LimitMetrics {
    /// Registers them.
    ///
    /// # Errors
    ///
    /// When they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let registry = &metrics.registry;
        let wait = HistogramOpts::new("limit_wait_seconds", "Time from asking for a place in a limit to having it");
        let gauges =
            |name: &str, help: &str| registered(registry, IntGaugeVec::new(Opts::new(name, help), &["limit"])?);
        Ok(Self {
            wait_seconds: registered(registry, HistogramVec::new(wait.buckets(WAIT_SECONDS.to_vec()), &["limit"])?)?,
            refused: counters(
                registry,
                "limit_refused_total",
                "Requests refused because a limit's queue was full or the wait too long",
                &["limit", "reason"],
            )?,
            running: gauges("limit_running", "Requests that have a place in a limit")?,
            waiting: gauges("limit_waiting", "Requests that wait for a place in a limit")?,
        })
    }

    /// Counts a caller that got a place after this wait.
    pub fn entered(&self, limit: &str, waited: Duration) {
        self.wait_seconds.with_label_values(&[limit]).observe(waited.as_secs_f64());
    }

    /// Counts a refused caller.
    pub fn refused(&self, limit: &str, reason: &str) {
        self.refused.with_label_values(&[limit, reason]).inc();
    }

    /// Sets how many are in and how many wait.
    pub fn set_places(&self, limit: &str, running: usize, waiting: usize) {
        let as_gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.running.with_label_values(&[limit]).set(as_gauge(running));
        self.waiting.with_label_values(&[limit]).set(as_gauge(waiting));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_by_its_name() {
        let metrics = Metrics::new().unwrap();
        let limits = LimitMetrics::new(&metrics).unwrap();
        limits.entered("password_hashing", Duration::from_millis(20));
        limits.refused("password_hashing", "queue_full");
        limits.set_places("password_hashing", 2, 7);
        let text = metrics.render().unwrap();
        for line in [
            "limit_wait_seconds_bucket{limit=\"password_hashing\",le=\"0.05\"} 1",
            "limit_refused_total{limit=\"password_hashing\",reason=\"queue_full\"} 1",
            "limit_running{limit=\"password_hashing\"} 2",
            "limit_waiting{limit=\"password_hashing\"} 7",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
