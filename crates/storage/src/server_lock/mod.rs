//! The right to run a server on a database: one process at a time has it.
//!
//! A server keeps in memory what the log has told, and is told only of its own writes. A second one on the same database would miss
//! what the first one writes, so it is refused. Commands that run beside a server need no lock: a server
//! notices what they change, by the table of changed accounts or by the version of a room's head.
//!
//! * **SQLite**: the operating system's lock on a file beside the database. It ends with the process.
//! * **PostgreSQL**: an advisory lock of a connection that is held for nothing else and is watched. The writer's connection holds a
//!   second one, the *fence*: so nothing is written by a server that has lost its connection and was succeeded by another one.

mod postgres;
mod sqlite;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::postgres::PostgresLock;
pub(crate) use self::postgres::{Fence, KEEPALIVE};
use self::sqlite::SqliteLock;
use crate::options::{DatabaseOptions, Target};
use crate::{Database, StorageError};

/// How long a server that starts waits for another one to end that has the database, as one may that is being replaced.
const SQLITE_PATIENCE: Duration = Duration::from_secs(5);
/// The same on PostgreSQL, which may take some time to notice that a process is gone: see [`postgres::KEEPALIVE`].
const POSTGRES_PATIENCE: Duration = Duration::from_secs(15);
/// How often it is tried again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The value in which a server leaves its mark on the database when it starts.
const MARK: &str = "current_start";

/// Held by the server that runs on a database, until it is released or dropped.
pub struct ServerLock {
    engine: EngineLock,
    taken_over: CancellationToken,
}

enum EngineLock {
    Sqlite(SqliteLock),
    Postgres(PostgresLock),
}

impl ServerLock {
    /// Takes the lock of the database that `options` name. If another server has it, this waits for a few seconds, and no longer
    /// than `options.connect_timeout`.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another server keeps it; others if the database cannot be reached.
    pub async fn take(options: &DatabaseOptions) -> Result<Self, StorageError> {
        let taken_over = CancellationToken::new();
        let engine = match options.target()? {
            Target::Sqlite(path) => {
                let patience = SQLITE_PATIENCE.min(options.connect_timeout);
                EngineLock::Sqlite(SqliteLock::take(&path, patience).await?)
            }
            Target::Postgres(target) => {
                let patience = POSTGRES_PATIENCE.min(options.connect_timeout);
                let lock = PostgresLock::take(*target, patience, options.connect_timeout, taken_over.clone());
                EngineLock::Postgres(lock.await?)
            }
        };
        Ok(Self { engine, taken_over })
    }

    /// What the writer's connection holds.
    pub(crate) fn fence(&self) -> Option<Arc<Fence>> {
        match &self.engine {
            EngineLock::Sqlite(_) => None,
            EngineLock::Postgres(lock) => Some(lock.fence()),
        }
    }

    /// Leaves this server's mark on its database: by it the server finds out, after it has lost its connection, whether another one
    /// has been there meanwhile.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be written.
    pub async fn mark(&self, database: &Database) -> Result<(), StorageError> {
        let EngineLock::Postgres(lock) = &self.engine else { return Ok(()) };
        let mark = homeserver_core::random_string(16);
        let value = mark.clone();
        database.write(async move |tx| tx.set_server_value(MARK, &value).await).await?;
        lock.fence().marked(mark);
        Ok(())
    }

    /// Is cancelled when another server has taken the database over: this one must stop.
    #[must_use]
    pub fn taken_over(&self) -> CancellationToken {
        self.taken_over.clone()
    }

    /// Gives the database free; to be called when nothing writes any more.
    pub async fn release(&self) {
        match &self.engine {
            EngineLock::Sqlite(lock) => lock.release(),
            EngineLock::Postgres(lock) => lock.release().await,
        }
    }
}

fn in_use(by: &str) -> StorageError {
    StorageError::InUse(format!(
        "{by} runs on it, and only one can: stop that one first, or give this one a database of its own. (Commands such as \
         `user create` and `backup` run beside a server.)"
    ))
}

fn beside(database: &Path) -> std::path::PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
