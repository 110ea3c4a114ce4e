use std::{sync::Arc, time::Duration};

use prometheus::{Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, Registry};

use super::{Metrics, MetricsError, as_float, gauge, registered};

/// The pool's connections at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolReading {
    /// Connections that are open.
    pub open: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// How many may be open.
    pub max: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Writes that wait for the writer.
    pub queued_writes: usize,
}

/// The database as its users see it: the pool, the statements, the writer.
#[derive(Clone)]
pub struct DatabaseMetrics {
    pool_size: Gauge,
    pool_idle: Gauge,
    pool_max: Gauge,
    pool_waiting: Gauge,
    pool_wait_seconds: Histogram,
    pool_timeouts: IntCounter,
    statement_seconds: HistogramVec,
    queue_depth: Gauge,
    batch_size: Histogram,
    commit_seconds: Histogram,
    transaction_seconds: Histogram,
    failures: IntCounter,
}

/// From a row found in memory to a disk that hardly answers.
const STATEMENT_SECONDS: [f64; 9] = [0.000_01, 0.000_05, 0.000_25, 0.001, 0.005, 0.025, 0.1, 1.0, 10.0];
const WAIT_SECONDS: [f64; 8] = [0.000_1, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0];
const COMMIT_SECONDS: [f64; 11] = [0.000_05, 0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];
const BATCH_SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

impl DatabaseMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
        };
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help)?);
        let by_operation =
            HistogramOpts::new("database_statement_seconds", "Time of a statement, without waiting for a connection");
        let by_operation = HistogramVec::new(by_operation.buckets(STATEMENT_SECONDS.to_vec()), &["operation"])?;
        Ok(Self {
            pool_size: gauge(registry, "database_pool_connections", "Open connections of the pool")?,
            pool_idle: gauge(registry, "database_pool_idle_connections", "Open connections that nobody uses")?,
            pool_max: gauge(registry, "database_pool_max_connections", "Connections that the pool may open")?,
            pool_waiting: gauge(registry, "database_pool_waiting", "Reads that wait for a connection")?,
            pool_wait_seconds: histogram(
                "database_pool_wait_seconds",
                "Time until a connection was free",
                &WAIT_SECONDS,
            )?,
            pool_timeouts: counter("database_pool_timeouts_total", "Reads that got no connection in time")?,
            statement_seconds: registered(registry, by_operation)?,
            queue_depth: gauge(registry, "database_writer_queue_depth", "Writes that wait for the writer")?,
            batch_size: histogram("database_writer_batch_size", "Writes that shared a transaction", &BATCH_SIZES)?,
            commit_seconds: histogram("database_writer_commit_seconds", "Time of a commit", &COMMIT_SECONDS)?,
            transaction_seconds: histogram(
                "database_writer_transaction_seconds",
                "Time of the writer's transactions, with the commit",
                &COMMIT_SECONDS,
            )?,
            failures: counter("database_writer_failures_total", "Transactions of the writer that failed")?,
        })
    }

    /// The time of statements of one kind, such as `SELECT accounts`.
    #[must_use]
    pub fn statements(&self, operation: &str) -> StatementTimes {
        StatementTimes(self.statement_seconds.with_label_values(&[operation]))
    }

    /// A read got its connection after so long.
    pub fn connection_acquired(&self, waited: Duration) {
        self.pool_wait_seconds.observe(waited.as_secs_f64());
    }

    /// A read got no connection in time.
    pub fn connection_timed_out(&self) {
        self.pool_timeouts.inc();
    }

    /// Counts a transaction with this many writes.
    pub fn committed(&self, writes: usize, transaction: Duration, commit: Duration) {
        self.batch_size.observe(as_float(u64::try_from(writes).unwrap_or(u64::MAX)));
        self.transaction_seconds.observe(transaction.as_secs_f64());
        self.commit_seconds.observe(commit.as_secs_f64());
    }

    /// A transaction of the writer failed.
    pub fn write_failed(&self) {
        self.failures.inc();
    }

    fn set(&self, reading: PoolReading) {
        let set = |gauge: &Gauge, value: usize| gauge.set(as_float(u64::try_from(value).unwrap_or(u64::MAX)));
        set(&self.pool_size, reading.open);
        set(&self.pool_idle, reading.idle);
        set(&self.pool_max, reading.max);
        set(&self.pool_waiting, reading.waiting);
        set(&self.queue_depth, reading.queued_writes);
    }
}

/// Where the times of statements of one kind are counted.
#[derive(Clone)]
pub struct StatementTimes(Histogram);

impl StatementTimes {
    /// A statement took so long.
    pub fn took(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

impl Metrics {
    /// What the database counts as it happens.
    pub fn database(&self) -> &Arc<DatabaseMetrics> {
        &self.database
    }

    /// Asks this for the state of the database's pool whenever metrics are read.
    pub fn observe_pool(&self, read: impl Fn() -> PoolReading + Send + Sync + 'static) {
        let database = self.database.clone();
        self.before_reading(move || database.set(read()));
    }
}
