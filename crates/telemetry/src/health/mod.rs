//! The health of a server, for its operator and for proxies.

mod shared;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use homeserver_core::MemoryUsage;
use parking_lot::Mutex;
use serde::Serialize;

pub use self::shared::Probe;
use self::shared::SharedProbe;
use crate::{DiskSpace, Metrics};

/// Whether a part, or the whole, does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does.
    Healthy,
    /// It does not.
    Unhealthy,
}

/// The body of `/health`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// The whole: unhealthy when any part is.
    pub status: Status,
    /// The server's version.
    pub version: &'static str,
    /// The database as seen from here.
    pub database: DatabaseHealth,
    /// What commits writes.
    pub writer: PartHealth,
    /// The disk that the data directory is on.
    pub disk: DiskHealth,
    /// The log, which wakes waiting requests.
    pub log: PartHealth,
    /// The loops that run in the background.
    pub background: BackgroundHealth,
    /// All caches together.
    pub cache: CacheHealth,
    /// Whole seconds since the start.
    pub uptime_seconds: u64,
}

/// A part with a status and nothing more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartHealth {
    /// Whether it does its work.
    pub status: Status,
}

/// The loops that run in the background.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackgroundHealth {
    /// Whether all of them run.
    pub status: Status,
    /// Loops that have ended and are started again.
    pub failing: Vec<&'static str>,
}

/// The database as seen from here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatabaseHealth {
    /// Whether it answered in time.
    pub status: Status,
    /// Connections open to it.
    pub connections: usize,
    /// How long it took to answer, in milliseconds; `null` when it did not.
    pub latency_ms: Option<f64>,
}

/// The disk that the data directory is on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiskHealth {
    /// Whether there is room left.
    pub status: Status,
    /// How much; `null` when that is not known.
    pub available_bytes: Option<u64>,
}

/// All caches together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CacheHealth {
    /// Whether they have the room that they need.
    pub status: CacheStatus,
    /// The share of look-ups answered from memory, from 0 to 1; 0 before the first one.
    pub hit_rate: f64,
    /// Their memory, in bytes.
    pub size_bytes: u64,
    /// Their limit, in bytes: `caches.memory_budget`.
    pub budget_bytes: u64,
}

/// Whether the caches have the room that they need. A budget that is used up is as it should be; caches have no way to fail
/// apart from the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheStatus {
    /// They have.
    Healthy,
    /// Since the last check much was asked for that is not there, while much had to go for want of room: a larger
    /// `caches.memory_budget` would spare the database.
    Strained,
}

impl CacheStatus {
    /// Of the look-ups between two checks.
    fn between(earlier: &MemoryUsage, now: &MemoryUsage) -> Self {
        /// With fewer look-ups there is nothing to tell.
        const LEAST_LOOK_UPS: u64 = 1_000;
        let since = |count: fn(&MemoryUsage) -> u64| count(now).saturating_sub(count(earlier));
        let (hits, misses, evictions) =
            (since(|usage| usage.hits), since(|usage| usage.misses), since(|usage| usage.evictions));
        // More than every fifth look-up in vain, and for every second of those something had to go.
        let is_strained = hits + misses >= LEAST_LOOK_UPS && misses > (hits + misses) / 5 && evictions > misses / 2;
        if is_strained { Self::Strained } else { Self::Healthy }
    }
}

/// The body of `/health/ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Readiness {
    /// Requests are served.
    Ready,
    /// Not yet.
    Starting,
    /// Not any more.
    Stopping,
    /// Not as long as the database does not answer, or it is not known what other servers write.
    Unhealthy,
}

/// How to find out about each part.
pub struct HealthChecks {
    /// Asks the database the simplest question, and returns how long it took.
    pub database: Probe<Duration>,
    /// Commits a write that changes nothing.
    pub writer: Probe<()>,
    /// How long ago the last write was committed, if there was one.
    pub last_commit: Box<dyn Fn() -> Option<Duration> + Send + Sync>,
    /// Measures the disk of the data directory.
    pub disk: Probe<DiskSpace>,
    /// How long the oldest commit has waited until the requests that wait for it are woken; `None` if none waits.
    pub untold_for: Box<dyn Fn() -> Option<Duration> + Send + Sync>,
    /// For how long what other servers write has not been known; `None` if it is.
    pub lost_for: Box<dyn Fn() -> Option<Duration> + Send + Sync>,
    /// The loops in the background that do not run as they should.
    pub failing_loops: Box<dyn Fn() -> Vec<&'static str> + Send + Sync>,
    /// Whether the server has been told to stop.
    pub is_stopping: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Finds out how a server is doing.
pub struct HealthProbe {
    version: &'static str,
    started: Instant,
    metrics: Arc<Metrics>,
    database: SharedProbe<Duration>,
    writer: SharedProbe<()>,
    disk: SharedProbe<DiskSpace>,
    last_commit: Box<dyn Fn() -> Option<Duration> + Send + Sync>,
    untold_for: Box<dyn Fn() -> Option<Duration> + Send + Sync>,
    lost_for: Box<dyn Fn() -> Option<Duration> + Send + Sync>,
    failing_loops: Box<dyn Fn() -> Vec<&'static str> + Send + Sync>,
    is_stopping: Box<dyn Fn() -> bool + Send + Sync>,
    /// Of the caches, at the last check.
    last_usage: Mutex<MemoryUsage>,
}

/// A part that takes longer than this for a trivial answer is of no use to anyone waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// A writer that has committed in this time need not prove that it can.
const WRITER_TRUSTED_FOR: Duration = Duration::from_secs(30);
/// The disk does not fill up faster than it is looked at.
const DISK_TRUSTED_FOR: Duration = Duration::from_secs(10);
/// With less than this a database soon cannot be written to.
const MIN_AVAILABLE_BYTES: u64 = 64 << 20;
/// Waiting requests are usually woken within milliseconds.
const MAX_UNTOLD: Duration = Duration::from_secs(30);

impl HealthProbe {
    /// A probe of a server that starts now.
    #[must_use]
    pub fn new(version: &'static str, metrics: Arc<Metrics>, checks: HealthChecks) -> Self {
        let HealthChecks { database, writer, last_commit, disk, untold_for, lost_for, failing_loops, is_stopping } =
            checks;
        Self {
            version,
            started: Instant::now(),
            metrics,
            database: SharedProbe::new(database, Duration::ZERO),
            writer: SharedProbe::new(writer, WRITER_TRUSTED_FOR),
            disk: SharedProbe::new(disk, DISK_TRUSTED_FOR),
            last_commit,
            untold_for,
            lost_for,
            failing_loops,
            is_stopping,
            last_usage: Mutex::default(),
        }
    }

    /// Asks every part at the same time; takes at most five seconds.
    pub async fn check(&self) -> Health {
        let (database, writer, disk) =
            futures::join!(self.database.ask(PATIENCE), self.write(), self.disk.ask(PATIENCE));
        let (database, latency) = judged("the database", database);
        let (writer, _) = judged("the writer", writer);
        let (disk, space) = judged("the disk of the data directory", disk.and_then(has_room));
        let (log, _) = judged("what follows the log", self.tells());
        let failing = (self.failing_loops)();
        let (background, _) = judged("work in the background", run(&failing));
        let parts = [database, writer, disk, log, background];
        Health {
            status: if parts.contains(&Status::Unhealthy) { Status::Unhealthy } else { Status::Healthy },
            version: self.version,
            database: DatabaseHealth {
                status: database,
                connections: self.metrics.database_connections(),
                latency_ms: latency.map(|latency| latency.as_secs_f64() * 1000.0),
            },
            writer: PartHealth { status: writer },
            disk: DiskHealth { status: disk, available_bytes: space.map(|space| space.available_bytes) },
            log: PartHealth { status: log },
            background: BackgroundHealth { status: background, failing },
            cache: self.cache(),
            uptime_seconds: self.started.elapsed().as_secs(),
        }
    }

    /// Whether requests would be served; takes at most five seconds.
    pub async fn readiness(&self) -> Readiness {
        if (self.is_stopping)() {
            return Readiness::Stopping;
        }
        let (database, _) = judged("the database", self.database.ask(PATIENCE).await);
        match database {
            Status::Healthy if (self.lost_for)().is_none() => Readiness::Ready,
            _ => Readiness::Unhealthy,
        }
    }

    /// The space on the disk of the data directory at the last look. Starts the next look.
    #[must_use]
    pub fn disk_space(&self) -> Option<DiskSpace> {
        self.disk.latest().and_then(Result::ok)
    }

    fn cache(&self) -> CacheHealth {
        let usage = self.metrics.cache_usage();
        let earlier = std::mem::replace(&mut *self.last_usage.lock(), usage);
        CacheHealth {
            status: CacheStatus::between(&earlier, &usage),
            hit_rate: self.metrics.cache_hit_rate().unwrap_or(0.0),
            size_bytes: usage.bytes(),
            budget_bytes: usage.capacity_bytes,
        }
    }

    async fn write(&self) -> Result<(), String> {
        if (self.last_commit)().is_some_and(|ago| ago < WRITER_TRUSTED_FOR) {
            return Ok(());
        }
        self.writer.ask(PATIENCE).await
    }

    fn tells(&self) -> Result<(), String> {
        if let Some(time) = (self.lost_for)() {
            return Err(format!("what other servers write has not been known for {time:?}"));
        }
        match (self.untold_for)() {
            Some(time) if time > MAX_UNTOLD => Err(format!("a commit has been waiting for {time:?}")),
            _ => Ok(()),
        }
    }
}

fn has_room(space: DiskSpace) -> Result<DiskSpace, String> {
    match space.available_bytes {
        MIN_AVAILABLE_BYTES.. => Ok(space),
        available => Err(format!("{available} bytes are available")),
    }
}

fn run(failing: &[&'static str]) -> Result<(), String> {
    if failing.is_empty() { Ok(()) } else { Err(format!("what ended is started again: {}", failing.join(", "))) }
}

fn judged<T>(part: &str, answer: Result<T, String>) -> (Status, Option<T>) {
    match answer {
        Ok(answer) => (Status::Healthy, Some(answer)),
        Err(error) => {
            tracing::warn!(%error, "{part} is unhealthy");
            (Status::Unhealthy, None)
        }
    }
}

impl Health {
    /// Whether `/health` answers 200 rather than 503.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.status == Status::Healthy
    }
}

#[cfg(test)]
mod tests;
