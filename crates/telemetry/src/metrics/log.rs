use std::{sync::Arc, time::Duration};

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, Registry};

use super::{Metrics, MetricsError, gauge, raise, registered};

/// How far the log is, and how far its followers are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogReading {
    /// The last position that was committed, as this node knows.
    pub position: i64,
    /// The last position whose readers were woken.
    pub followed: i64,
    /// Transactions that were not followed one by one, because there were too many.
    pub overflows: u64,
}

/// The log and its followers.
#[derive(Clone)]
pub struct LogMetrics {
    position: Gauge,
    followed: Gauge,
    lag: Gauge,
    lag_seconds: Histogram,
    overflows: IntCounter,
}

const LAG_SECONDS: [f64; 9] = [0.000_05, 0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

impl LogMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let lag_seconds = HistogramOpts::new("log_lag_seconds", "Time from a commit until its readers were woken");
        Ok(Self {
            position: gauge(registry, "log_position", "Last position of the log that this node knows of")?,
            followed: gauge(registry, "log_followed_position", "Last position of the log whose readers were woken")?,
            lag: gauge(registry, "log_lag_positions", "Positions of the log whose readers are still to be woken")?,
            lag_seconds: registered(registry, Histogram::with_opts(lag_seconds.buckets(LAG_SECONDS.to_vec()))?)?,
            overflows: registered(
                registry,
                IntCounter::new(
                    "log_overflows_total",
                    "Commits for which everybody was woken, because too many waited",
                )?,
            )?,
        })
    }

    /// Readers were woken so long after the commit.
    pub fn followed(&self, lag: Duration) {
        self.lag_seconds.observe(lag.as_secs_f64());
    }

    fn set(&self, reading: LogReading) {
        self.position.set(as_float(reading.position));
        self.followed.set(as_float(reading.followed));
        self.lag.set(as_float(reading.position.saturating_sub(reading.followed).max(0)));
        raise(&self.overflows, reading.overflows);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a log of 2^53 entries is not to be expected")]
fn as_float(position: i64) -> f64 {
    position as f64
}

impl Metrics {
    /// What the followers of the log count as it happens.
    pub fn log(&self) -> &Arc<LogMetrics> {
        &self.log
    }

    /// Asks this for how far the log is whenever metrics are read.
    pub fn observe_log(&self, read: impl Fn() -> LogReading + Send + Sync + 'static) {
        let log = self.log.clone();
        self.before_reading(move || log.set(read()));
    }
}
