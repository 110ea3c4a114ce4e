mod build;
mod caches;
mod database;
mod disk;
mod federation;
mod jobs;
mod limits;
mod log;
mod outbox;
mod rate_limits;
mod runtime;
mod sync;
mod traces;

use std::{sync::Arc, time::Duration};

use homeserver_core::{MemoryBudget, MemoryUsage};
use parking_lot::Mutex;
use prometheus::{
    Encoder as _, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};
use tokio::runtime::Handle;

use self::{caches::CacheMetrics, disk::DiskMetrics, runtime::RuntimeGauges, sync::SyncMetrics, traces::TraceMetrics};
pub use self::{
    database::{DatabaseMetrics, PoolReading, StatementTimes},
    federation::FederationMetrics,
    jobs::{JobMetrics, JobReading, StatisticsReading},
    limits::LimitMetrics,
    log::{LogMetrics, LogReading},
    outbox::OutboxMetrics,
    rate_limits::RateLimitMetrics,
    sync::SyncReading,
};
use crate::process::ProcessReading;

/// Metrics cannot be registered or written.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// Hits and misses of a cache since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// It was there.
    pub hits: u64,
    /// It had to be loaded.
    pub misses: u64,
}

/// The metrics of one server, in a registry of its own.
///
/// Requests are counted as they happen. What other parts count for themselves (caches, the database's pool) is asked
/// for when somebody reads: those parts need not know of metrics. A part with metrics of its own has a group of them in a
/// module beside this one, made with [`registered`] and its siblings.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    database_connections: IntGauge,
    caches: CacheMetrics,
    state_chunks_removed: IntCounter,
    state_chunk_bytes_removed: IntCounter,
    jobs: JobMetrics,
    process: ProcessGauges,
    runtime: RuntimeGauges,
    build: IntGaugeVec,
    database: Arc<DatabaseMetrics>,
    disk: DiskMetrics,
    log: Arc<LogMetrics>,
    sync: SyncMetrics,
    traces: TraceMetrics,
    observed: Mutex<Observed>,
    reading: Mutex<()>,
}

type Count = Arc<dyn Fn() -> usize + Send + Sync>;
type Counts = Arc<dyn Fn() -> CacheCounts + Send + Sync>;
type BeforeReading = Arc<dyn Fn() + Send + Sync>;

#[derive(Default, Clone)]
struct Observed {
    database_connections: Option<Count>,
    caches: Vec<(String, Counts)>,
    budget: Option<MemoryBudget>,
    before_reading: Vec<BeforeReading>,
}

/// From a request answered out of memory to one that waits for a long poll.
const REQUEST_SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

impl Metrics {
    /// Registers everything that a server counts.
    ///
    /// # Errors
    ///
    /// When two metrics have the same name.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let seconds = HistogramOpts::new("http_request_duration_seconds", "Time from a request to its answer")
            .buckets(REQUEST_SECONDS.to_vec());
        Ok(Self {
            requests: counters(&registry, "http_requests_total", "Requests answered", &["method", "route", "status"])?,
            request_seconds: registered(&registry, HistogramVec::new(seconds, &["method", "route"])?)?,
            database_connections: registered(
                &registry,
                IntGauge::new("active_connections", "Open connections to the database")?,
            )?,
            caches: CacheMetrics::new(&registry)?,
            state_chunks_removed: registered(
                &registry,
                IntCounter::new("state_chunks_removed_total", "Chunks of states removed that nothing referred to")?,
            )?,
            state_chunk_bytes_removed: registered(
                &registry,
                IntCounter::new("state_chunk_bytes_removed_total", "Bytes of the chunks of states removed")?,
            )?,
            jobs: JobMetrics::new(&registry)?,
            process: ProcessGauges::new(&registry)?,
            runtime: RuntimeGauges::new(&registry)?,
            build: build::gauges(&registry)?,
            database: Arc::new(DatabaseMetrics::new(&registry)?),
            disk: DiskMetrics::new(&registry)?,
            log: Arc::new(LogMetrics::new(&registry)?),
            sync: SyncMetrics::new(&registry)?,
            traces: TraceMetrics::new(&registry)?,
            observed: Mutex::default(),
            reading: Mutex::default(),
            registry,
        })
    }

    /// Counts one answered request. `route` is the pattern of the path, never the path: its values are bounded.
    pub fn request_answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let mut digits = [b'0'; 3];
        let status = three_digits(status, &mut digits);
        self.requests.with_label_values(&[method, route, status]).inc();
        self.request_seconds.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    /// Counts chunks of rooms' states that were removed because nothing refers to them any more.
    pub fn state_chunks_removed(&self, chunks: u64, bytes: u64) {
        self.state_chunks_removed.inc_by(chunks);
        self.state_chunk_bytes_removed.inc_by(bytes);
    }

    /// The metrics of work in the background.
    pub fn jobs(&self) -> &JobMetrics {
        &self.jobs
    }

    /// Asks this for the number of open database connections whenever metrics are read.
    pub fn observe_database(&self, open_connections: impl Fn() -> usize + Send + Sync + 'static) {
        self.observed.lock().database_connections = Some(Arc::new(open_connections));
    }

    /// Reads the usage of all caches of `budget` whenever metrics are read.
    pub fn observe_caches(&self, budget: MemoryBudget) {
        self.observed.lock().budget = Some(budget);
    }

    /// Calls `counts` for the cache `name`, which has no share of the budget, whenever metrics are read.
    pub fn observe_cache(&self, name: &str, counts: impl Fn() -> CacheCounts + Send + Sync + 'static) {
        self.observed.lock().caches.push((name.to_owned(), Arc::new(counts)));
    }

    /// Runs this whenever metrics are read, before they are: it brings gauges up to date. It must not block.
    pub fn before_reading(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.observed.lock().before_reading.push(Arc::new(refresh));
    }

    /// Open database connections now.
    pub fn database_connections(&self) -> usize {
        let observed = self.observed.lock().database_connections.clone();
        observed.map_or(0, |count| count())
    }

    /// The share of look-ups that all caches together answered, from 0 to 1; `None` before the first look-up.
    pub fn cache_hit_rate(&self) -> Option<f64> {
        let usage = self.cache_usage();
        let (hits, misses) = (as_float(usage.hits), as_float(usage.misses));
        let look_ups: f64 = hits + misses;
        (look_ups > 0.0).then(|| hits / look_ups)
    }

    /// What all caches together keep, and what that was good for; the capacity is the budget that they share.
    pub(crate) fn cache_usage(&self) -> MemoryUsage {
        let Observed { caches, budget, .. } = self.observed.lock().clone();
        let shared = budget.as_ref().map(caches::sum).unwrap_or_default();
        let capacity_bytes = budget.map_or(0, |budget| budget.bytes());
        caches.iter().map(|(_, counts)| counts()).fold(MemoryUsage { capacity_bytes, ..shared }, |sum, counts| {
            sum.plus(&MemoryUsage { hits: counts.hits, misses: counts.misses, ..MemoryUsage::default() })
        })
    }

    /// Everything in Prometheus' [text format](https://prometheus.io/docs/instrumenting/exposition_formats/).
    ///
    /// # Errors
    ///
    /// When a metric cannot be written as text.
    pub fn render(&self) -> Result<String, MetricsError> {
        self.refresh();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The `Content-Type` of [`Metrics::render`].
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    fn refresh(&self) {
        // Two readers at the same time would both count what is new since the last reading.
        let _reading = self.reading.lock();
        let connections = i64::try_from(self.database_connections()).unwrap_or(i64::MAX);
        self.database_connections.set(connections);
        let Observed { caches, budget, before_reading, .. } = self.observed.lock().clone();
        for refresh in before_reading {
            refresh();
        }
        for (name, counts) in caches {
            self.caches.set_counts(&name, counts());
        }
        if let Some(budget) = budget {
            self.caches.set(&budget);
        }
        if let Some(reading) = ProcessReading::now() {
            self.process.set(&reading);
        }
        if let Ok(handle) = Handle::try_current() {
            self.runtime.set(&handle);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate does not need the last digits of a count beyond 2^53")]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// Writes an HTTP status without allocating.
fn three_digits(status: u16, digits: &mut [u8; 3]) -> &str {
    let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
    *digits = [digit(status / 100), digit(status / 10), digit(status)];
    std::str::from_utf8(digits).unwrap_or("000")
}

/// Adds `collector` to `registry`, and gives a handle of it.
pub(crate) fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, MetricsError> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// Counters of one name, one for each value of `labels`, in `registry`.
pub(crate) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, MetricsError> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

/// Has `counter` show what somebody else has counted.
pub(crate) fn raise(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}

/// A gauge in `registry`.
pub(crate) fn gauge(registry: &Registry, name: &str, help: &str) -> Result<Gauge, MetricsError> {
    registered(registry, Gauge::new(name, help)?)
}

/// The names that Prometheus client libraries agree on.
struct ProcessGauges {
    resident_memory: Gauge,
    virtual_memory: Gauge,
    cpu: prometheus::Counter,
    threads: Gauge,
    open_fds: Gauge,
    start_time: Gauge,
}

impl ProcessGauges {
    fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let cpu = prometheus::Counter::new("process_cpu_seconds_total", "CPU time, user and system")?;
        Ok(Self {
            resident_memory: gauge(registry, "process_resident_memory_bytes", "Memory held in RAM")?,
            virtual_memory: gauge(registry, "process_virtual_memory_bytes", "Address space")?,
            cpu: registered(registry, cpu)?,
            threads: gauge(registry, "process_threads", "Threads of the operating system")?,
            open_fds: gauge(registry, "process_open_fds", "Open file descriptors")?,
            start_time: gauge(registry, "process_start_time_seconds", "When the process started, since 1970")?,
        })
    }

    fn set(&self, reading: &ProcessReading) {
        self.resident_memory.set(reading.resident_memory_bytes);
        self.virtual_memory.set(reading.virtual_memory_bytes);
        self.cpu.inc_by((reading.cpu_seconds - self.cpu.get()).max(0.0));
        self.threads.set(reading.threads);
        self.open_fds.set(reading.open_fds);
        self.start_time.set(reading.start_time_seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CacheCounts, Metrics};

    #[tokio::test]
    async fn everything_promised_is_in_the_text() {
        let metrics = Metrics::new().unwrap();
        metrics.request_answered("GET", "/_matrix/client/versions", 200, Duration::from_millis(2));
        metrics.observe_database(|| 3);
        metrics.observe_cache("events", || CacheCounts { hits: 3, misses: 1 });
        metrics.state_chunks_removed(2, 700);
        let text = metrics.render().unwrap();
        for line in [
            "state_chunks_removed_total 2",
            "state_chunk_bytes_removed_total 700",
            "http_requests_total{method=\"GET\",route=\"/_matrix/client/versions\",status=\"200\"} 1",
            "http_request_duration_seconds_count{method=\"GET\",route=\"/_matrix/client/versions\"} 1",
            "active_connections 3",
            "cache_hits_total{cache=\"events\"} 3",
            "cache_misses_total{cache=\"events\"} 1",
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
            "process_open_fds ",
            "process_start_time_seconds ",
            "tokio_workers 1",
        ] {
            assert!(text.lines().any(|found| found.starts_with(line)), "{line} in {text}");
        }
        assert_eq!(metrics.cache_hit_rate(), Some(0.75));
    }

    #[test]
    fn what_is_refreshed_before_reading_is_read_as_refreshed() {
        let metrics = Metrics::new().unwrap();
        let gauge = super::gauge(&metrics.registry, "level", "How high it is").unwrap();
        metrics.before_reading(move || gauge.set(7.0));
        assert!(metrics.render().unwrap().contains("level 7"));
    }

    #[test]
    fn reading_twice_counts_a_cache_once() {
        let metrics = Metrics::new().unwrap();
        metrics.observe_cache("events", || CacheCounts { hits: 5, misses: 0 });
        metrics.render().unwrap();
        assert!(metrics.render().unwrap().contains("cache_hits_total{cache=\"events\"} 5"));
    }

    #[test]
    fn two_servers_in_one_process_count_apart() {
        let (one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        one.request_answered("GET", "/", 404, Duration::ZERO);
        assert!(one.render().unwrap().contains("status=\"404\""));
        assert!(!other.render().unwrap().contains("http_requests_total{"));
    }
}
