use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::cores;
use crate::values::{DatabaseEngine, DatabaseUrl, Period, some_whole_number};

/// The database: a SQLite file, or PostgreSQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/NAME`; by default `homeserver.db` in `server.data_dir`.
    /// The environment variable `DATABASE_URL` overrides it.
    #[schemars(example = "sqlite://data/homeserver.db")]
    pub url: Option<DatabaseUrl>,
    /// A file that holds the URL, instead of `url`.
    #[schemars(example = "/run/secrets/database_url")]
    pub url_file: Option<PathBuf>,
    /// Connections kept open; by default 1 for SQLite and the number of cores for PostgreSQL.
    #[serde(deserialize_with = "some_whole_number::<_, 0, 10_000>")]
    #[schemars(range(min = 0, max = 10_000), example = 1)]
    pub min_connections: Option<u32>,
    /// Connections at most; by default 8 for SQLite and four times the number of cores for PostgreSQL.
    #[serde(deserialize_with = "some_whole_number::<_, 1, 10_000>")]
    #[schemars(range(min = 1, max = 10_000), example = 8)]
    pub max_connections: Option<u32>,
    /// How long a request waits for a connection.
    pub connect_timeout: Period,
    /// A connection unused for this long is closed.
    pub idle_timeout: Period,
    /// A connection older than this is replaced.
    pub max_lifetime: Period,
    /// `full`: an acknowledged write survives a power loss; `normal`: a crash of the process only.
    pub synchronous: Synchronous,
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// A power loss.
    Full,
    /// A crash of the process only.
    Normal,
}

/// The options of the connection pool, with every default filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Connections kept open.
    pub min_connections: u32,
    /// Connections at most.
    pub max_connections: u32,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// A connection unused for this long is closed.
    pub idle_timeout: Duration,
    /// A connection older than this is replaced.
    pub max_lifetime: Duration,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            min_connections: None,
            max_connections: None,
            connect_timeout: Period::from_secs(30),
            idle_timeout: Period::from_secs(10 * 60),
            max_lifetime: Period::from_secs(60 * 60),
            synchronous: Synchronous::Full,
        }
    }
}

impl Pool {
    pub(crate) fn new(database: &Database, engine: DatabaseEngine) -> Self {
        let cores = u32::try_from(cores()).unwrap_or(1);
        let (min, max) = match engine {
            DatabaseEngine::Sqlite => (1, 8),
            DatabaseEngine::Postgres => (cores, cores.saturating_mul(4)),
        };
        // One of the two set alone pulls the other's default along.
        let (min_connections, max_connections) = match (database.min_connections, database.max_connections) {
            (None, None) => (min, max),
            (Some(set), None) => (set, max.max(set)),
            (None, Some(set)) => (min.min(set), set),
            (Some(min_set), Some(max_set)) => (min_set, max_set),
        };
        Self {
            min_connections,
            max_connections,
            connect_timeout: database.connect_timeout.duration(),
            idle_timeout: database.idle_timeout.duration(),
            max_lifetime: database.max_lifetime.duration(),
        }
    }
}
