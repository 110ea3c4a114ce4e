//! Where the database is and how it is connected to.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use homeserver_core::MemoryBudget;
use sqlx::postgres::PgConnectOptions;

use crate::StorageError;

/// How to open a database.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// `sqlite://path` or `postgres://user:password@host/database`.
    pub url: String,
    /// Connections kept open for reading.
    pub min_connections: u32,
    /// Most connections for reading; the writer has one more.
    pub max_connections: u32,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// A connection that was not used for this long is closed (PostgreSQL).
    pub idle_timeout: Duration,
    /// A connection that has lived for this long is replaced (PostgreSQL).
    pub max_lifetime: Duration,
    /// Whether a commit waits until the data is on stable storage.
    pub synchronous: Synchronous,
    /// What the caches of the database, and of what is made from it, may take together.
    pub memory: MemoryBudget,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Synchronous {
    /// A power loss.
    Full,
    /// A crash of the process only.
    Normal,
}

impl DatabaseOptions {
    /// The defaults for the database at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            min_connections: 1,
            max_connections: 8,
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            synchronous: Synchronous::Full,
            memory: MemoryBudget::default(),
        }
    }

    pub(crate) fn target(&self) -> Result<Target, StorageError> {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains(":memory:") {
                return Err(StorageError::Url(format!("{} names no file", self.url)));
            }
            return Ok(Target::Sqlite(PathBuf::from(path)));
        }
        if self.url.starts_with("postgres://") || self.url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(&self.url)
                .map_err(|error| StorageError::Url(format!("the PostgreSQL URL is not valid: {error}")))?;
            return Ok(Target::Postgres(Box::new(options)));
        }
        Err(StorageError::Url("a database URL starts with sqlite:// or postgres://".to_owned()))
    }
}

pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}
