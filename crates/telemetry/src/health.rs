use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

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
    /// A cache has no way to fail apart from the process.
    pub status: Status,
    /// The share of look-ups answered from memory, from 0 to 1; 0 before the first one.
    pub hit_rate: f64,
}

/// Asks the database for a trivial answer; `Err` says why there was none.
pub type DatabaseProbe = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Finds out how a server is doing.
pub struct HealthProbe {
    version: &'static str,
    started: Instant,
    metrics: Arc<Metrics>,
    database: DatabaseProbe,
}

/// A database that takes longer than this for a trivial answer is of no use to anyone waiting.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

impl HealthProbe {
    /// A probe of a server that starts now.
    pub fn new(version: &'static str, metrics: Arc<Metrics>, database: DatabaseProbe) -> Self {
        Self { version, started: Instant::now(), metrics, database }
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
            cache: CacheHealth { status: Status::Healthy, hit_rate: self.metrics.cache_hit_rate().unwrap_or(0.0) },
            uptime_seconds: self.started.elapsed().as_secs(),
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

    use serde_json::json;

    use super::{DatabaseProbe, HealthProbe};
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
            "cache": { "status": "healthy", "hit_rate": 0.0 },
            "uptime_seconds": 0,
        });
        assert_eq!(serde_json::to_value(health).unwrap(), expected);
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
