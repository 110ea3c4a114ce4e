use prometheus::{Gauge, IntCounter, IntCounterVec, Registry};

use super::{Metrics, MetricsError, as_float, counters, gauge, raise, registered};

/// What `/sync` has counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncReading {
    /// Requests of clients that had nothing yet.
    pub initial: u64,
    /// Requests of clients that went on from where they were.
    pub incremental: u64,
    /// Requests that waited in vain.
    pub timeouts: u64,
    /// How often a waiting request was woken.
    pub wakeups: u64,
    /// Requests that wait now.
    pub waiting: usize,
}

#[derive(Clone)]
pub(super) struct SyncMetrics {
    requests: IntCounterVec,
    timeouts: IntCounter,
    wakeups: IntCounter,
    waiting: Gauge,
}

impl SyncMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help)?);
        Ok(Self {
            requests: counters(registry, "sync_requests_total", "Requests for what is new, by kind", &["kind"])?,
            timeouts: counter("sync_timeouts_total", "Requests for what is new that waited in vain")?,
            wakeups: counter("sync_wakeups_total", "Waiting requests that were woken")?,
            waiting: gauge(registry, "sync_waiting_requests", "Requests that wait for something new")?,
        })
    }

    fn set(&self, reading: SyncReading) {
        raise(&self.requests.with_label_values(&["initial"]), reading.initial);
        raise(&self.requests.with_label_values(&["incremental"]), reading.incremental);
        raise(&self.timeouts, reading.timeouts);
        raise(&self.wakeups, reading.wakeups);
        self.waiting.set(as_float(u64::try_from(reading.waiting).unwrap_or(u64::MAX)));
    }
}

impl Metrics {
    /// Asks this for what `/sync` has counted whenever metrics are read.
    pub fn observe_sync(&self, read: impl Fn() -> SyncReading + Send + Sync + 'static) {
        let sync = self.sync.clone();
        self.before_reading(move || sync.set(read()));
    }
}
