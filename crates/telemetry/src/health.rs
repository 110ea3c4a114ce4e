use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use homeserver_core::MemoryUsage;
use parking_lot::Mutex;
use serde::Serialize;

use crate::Metrics;

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
    /// The whole: unhealthy when the database is.
    pub status: Status,
    /// The server's version.
    pub version: &'static str,
    /// The database as seen from here.
    pub database: DatabaseHealth,
    /// All caches together.
    pub cache: CacheHealth,
    /// Whole seconds since the start.
    pub uptime_seconds: u64,
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

/// All caches together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CacheHealth {
    /// Whether they have the room that they need.
    pub status: CacheStatus,
    /// The share of look-ups answered from memory, from 0 to 1; 0 before the first one.
    pub hit_rate: f64,
    /// What they take, in bytes.
    pub size_bytes: u64,
    /// What they may take, in bytes: `caches.memory_budget`.
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
    /// By what was looked up between two checks.
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

/// Asks the database for a trivial answer; `Err` says why there was none.
pub type DatabaseProbe = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Finds out how a server is doing.
pub struct HealthProbe {
    version: &'static str,
    started: Instant,
    metrics: Arc<Metrics>,
    database: DatabaseProbe,
    /// Of the caches, at the last check.
    last_usage: Mutex<MemoryUsage>,
}

/// A database that takes longer than this for a trivial answer is of no use to anyone waiting.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

impl HealthProbe {
    /// A probe of a server that starts now.
    pub fn new(version: &'static str, metrics: Arc<Metrics>, database: DatabaseProbe) -> Self {
        let last_usage = Mutex::default();
        Self { version, started: Instant::now(), metrics, database, last_usage }
    }

    /// Asks now; takes at most five seconds.
    pub async fn check(&self) -> Health {
        let asked = Instant::now();
        let answer = tokio::time::timeout(DATABASE_TIMEOUT, (self.database)()).await;
        let latency = asked.elapsed();
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {DATABASE_TIMEOUT:?}")));
        let status = match answer {
            Ok(()) => Status::Healthy,
            Err(error) => {
                tracing::warn!(%error, "the database is unhealthy");
                Status::Unhealthy
            }
        };
        Health {
            status,
            version: self.version,
            database: DatabaseHealth {
                status,
                connections: self.metrics.database_connections(),
                latency_ms: (status == Status::Healthy).then_some(latency.as_secs_f64() * 1000.0),
            },
            cache: self.cache(),
            uptime_seconds: self.started.elapsed().as_secs(),
        }
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
}

impl Health {
    /// Whether `/health` answers 200 rather than 503.
    pub fn is_healthy(&self) -> bool {
        self.status == Status::Healthy
    }
}

#[cfg(test)]
mod tests {
    use std::{future, sync::Arc};

    use homeserver_core::{Cache, MemoryBudget, SystemClock};
    use serde_json::json;

    use super::{CacheStatus, DatabaseProbe, HealthProbe};
    use crate::Metrics;

    fn probe(database: DatabaseProbe) -> HealthProbe {
        let metrics = Arc::new(Metrics::new().unwrap());
        metrics.observe_database(|| 2);
        HealthProbe::new("1.2.3", metrics, database)
    }

    #[tokio::test]
    async fn a_healthy_server_says_so_in_the_promised_shape() {
        let mut health = probe(Box::new(|| Box::pin(future::ready(Ok(()))))).check().await;
        assert!(health.is_healthy());
        health.database.latency_ms = Some(0.5);
        let expected = json!({
            "status": "healthy",
            "version": "1.2.3",
            "database": { "status": "healthy", "connections": 2, "latency_ms": 0.5 },
            "cache": { "status": "healthy", "hit_rate": 0.0, "size_bytes": 0, "budget_bytes": 0 },
            "uptime_seconds": 0,
        });
        assert_eq!(serde_json::to_value(health).unwrap(), expected);
    }

    #[tokio::test]
    async fn caches_are_strained_while_they_miss_what_they_had_to_drop() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let budget = MemoryBudget::new(1 << 20, Arc::new(SystemClock));
        let cache: Cache<u64, Arc<str>> = Cache::new(&budget, "texts");
        metrics.observe_caches(budget);
        let probe = HealthProbe::new("1.2.3", metrics, Box::new(|| Box::pin(future::ready(Ok(())))));
        let ask = |keys: std::ops::Range<u64>| {
            for key in keys {
                cache.get_or_insert_with(&key, || "x".repeat(1_000).into());
            }
        };
        ask(0..500);
        assert_eq!(probe.check().await.cache.status, CacheStatus::Healthy, "nothing had to go yet");
        ask(0..20_000);
        let strained = probe.check().await;
        assert_eq!(strained.cache.status, CacheStatus::Strained);
        assert!(strained.is_healthy() && strained.cache.size_bytes > 500_000, "{strained:?}");
        assert_eq!(strained.cache.budget_bytes, 1 << 20);
        (0..100).for_each(|_| ask(19_950..20_000));
        assert_eq!(probe.check().await.cache.status, CacheStatus::Healthy);
    }

    #[tokio::test]
    async fn a_server_without_its_database_is_unhealthy() {
        let health = probe(Box::new(|| Box::pin(future::ready(Err("gone".to_owned()))))).check().await;
        assert!(!health.is_healthy());
        assert_eq!(health.database.latency_ms, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_never_answers_is_unhealthy_after_five_seconds() {
        let health = probe(Box::new(|| Box::pin(future::pending()))).check().await;
        assert!(!health.is_healthy());
    }
}
