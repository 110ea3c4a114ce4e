//! The right to run a server on a SQLite database: one process at a time has it.
//!
//! A server keeps in memory what the log has told. On PostgreSQL any number of servers follow the log, each what all have written. On
//! SQLite the log is not written down, because that would cost each write something: a second server on the same file would
//! miss what the first one writes, so it is refused. It is the operating system's lock on a file beside the database, which ends with the
//! process. Commands run beside a server and need no lock: what they write is written down, and the server looks for it.

mod sqlite;

use std::path::Path;
use std::time::Duration;

use self::sqlite::SqliteLock;
use crate::StorageError;
use crate::options::{DatabaseOptions, Target};

/// How long a server that starts waits for another one to end that has the database, as one may that is being replaced.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Held by the server that runs on a SQLite database, until it is released or dropped. On PostgreSQL it holds nothing.
pub struct ServerLock(Option<SqliteLock>);

impl ServerLock {
    /// Takes the lock of the database that `options` name. If another server has it, this waits for a few seconds, and no longer
    /// than `options.connect_timeout`.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another server keeps it; others if the file cannot be used.
    pub async fn take(options: &DatabaseOptions) -> Result<Self, StorageError> {
        match options.target()? {
            Target::Sqlite(path) => {
                let lock = SqliteLock::take(&path, PATIENCE.min(options.connect_timeout)).await?;
                Ok(Self(Some(lock)))
            }
            Target::Postgres(_) => Ok(Self(None)),
        }
    }

    /// Gives the database free; to be called when nothing writes any more.
    pub fn release(&self) {
        self.0.iter().for_each(SqliteLock::release);
    }
}

fn in_use(by: &str) -> StorageError {
    StorageError::InUse(format!(
        "{by} runs on it, and only one can on SQLite: stop that one first, or give this one a database of its own. Several \
         servers can share a PostgreSQL database. (Commands such as `user create` and `backup` run beside a server.)"
    ))
}

fn beside(database: &Path) -> std::path::PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
