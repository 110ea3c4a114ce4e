//! SQLite, called in place: a point read costs a few microseconds, less than handing it to another thread would.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::StorageError;
use crate::observing::{Statement, Watch};
use crate::options::{DatabaseOptions, Synchronous};
use crate::{Row, Value};

/// Statements kept prepared on each connection.
const PREPARED_STATEMENTS: usize = 256;
/// Pages that the write-ahead log grows to before they are moved into the database: about 2 MB.
const LOG_PAGES: u32 = 500;
/// What the connection that writes may keep of the database, in KiB. It alone changes the database, so what it keeps stays true, and
/// what it inserts goes everywhere: event IDs are in no order.
const WRITER_CACHE_KIB: u32 = 32 << 10;
/// The same for each connection that reads: what it keeps is dropped with every commit, so it is for one statement.
const READER_CACHE_KIB: u32 = 1 << 10;
/// How long a connection waits for another process (such as `user create`) to finish its write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long closing waits for reads.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for reading. Each read takes one, runs without suspension, and puts it back.
pub(crate) struct SqliteReaders {
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    size: usize,
    watch: Arc<Watch>,
}

impl SqliteReaders {
    pub(crate) fn open(path: &Path, options: &DatabaseOptions, watch: Arc<Watch>) -> Result<Self, StorageError> {
        let size = options.max_connections.max(1) as usize;
        let idle = (0..size).map(|_| connect(path, options, READER_CACHE_KIB)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { idle: Mutex::new(idle), permits: Semaphore::new(size), size, watch })
    }

    pub(crate) async fn query<T>(
        &self,
        statement: &Statement,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        self.read(statement, |connection| query(connection, statement.sql, params, map)).await
    }

    /// Runs a statement once for each of `rounds`, in one transaction: to begin one costs as much as a small read.
    pub(crate) async fn query_each<T, const N: usize>(
        &self,
        statement: &Statement,
        rounds: &[[Value<'_>; N]],
        map: &mut impl FnMut(&Row<'_>) -> Result<T, StorageError>,
        answer: &mut Vec<T>,
    ) -> Result<(), StorageError> {
        let read = |connection: &Connection| {
            // It only reads, and ends when it is dropped.
            let _transaction = connection.unchecked_transaction()?;
            let mut prepared = connection.prepare_cached(statement.sql)?;
            rounds.iter().try_for_each(|params| read_rows(&mut prepared, params, map, answer))
        };
        self.read(statement, read).await
    }

    async fn read<T>(
        &self,
        statement: &Statement,
        read: impl FnOnce(&Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let closed = |_| StorageError::Unavailable("the database is closed".to_owned());
        let _permit = self.watch.acquire(async { self.permits.acquire().await.map_err(closed) }).await?;
        let taken = self.idle.lock().pop();
        let connection = taken.ok_or_else(|| StorageError::Unavailable("no connection is free".to_owned()))?;
        let timer = statement.timer();
        let answer = statement.span().in_scope(|| read(&connection));
        drop(timer);
        self.idle.lock().push(connection);
        answer
    }

    pub(crate) fn connections(&self) -> usize {
        self.size
    }

    pub(crate) fn idle(&self) -> usize {
        self.permits.available_permits()
    }

    /// Closes all connections, once the reads have ended, and leaves everything in the one file: the last connection that is
    /// closed moves what is in the write-ahead log into it.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(self.size).unwrap_or(u32::MAX);
        let held = tokio::time::timeout(CLOSE_TIMEOUT, self.permits.acquire_many(all)).await;
        if held.is_err() {
            tracing::warn!("the database is still read while it is closed");
        }
        self.permits.close();
        let connections = std::mem::take(&mut *self.idle.lock());
        if let Some(connection) = connections.first()
            && let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            tracing::warn!(%error, "the write-ahead log stays beside the database");
        }
    }
}

/// Opens the connection that writes.
pub(crate) fn connect_writer(path: &Path, options: &DatabaseOptions) -> Result<Connection, StorageError> {
    connect(path, options, WRITER_CACHE_KIB)
}

/// Opens a connection with the settings that every connection needs.
fn connect(path: &Path, options: &DatabaseOptions, cache_kib: u32) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| StorageError::Unavailable(format!("cannot open {}: {error}", path.display())))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    // Without this SQLite compiles a statement again whenever its `LIMIT` or a range gets another value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous};
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{cache_kib};
         PRAGMA wal_autocheckpoint = {LOG_PAGES};
         PRAGMA journal_size_limit = 4194304;"
    ))?;
    Ok(connection)
}

pub(crate) fn query<T>(
    connection: &Connection,
    sql: &str,
    params: &[Value<'_>],
    mut map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut answer = Vec::new();
    read_rows(&mut statement, params, &mut map, &mut answer)?;
    Ok(answer)
}

fn read_rows<T>(
    statement: &mut rusqlite::Statement<'_>,
    params: &[Value<'_>],
    map: &mut impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    answer: &mut Vec<T>,
) -> Result<(), StorageError> {
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    while let Some(row) = rows.next()? {
        answer.push(map(&Row::Sqlite(row))?);
    }
    Ok(())
}

pub(crate) fn execute(connection: &Connection, sql: &str, params: &[Value<'_>]) -> Result<u64, StorageError> {
    let mut statement = connection.prepare_cached(sql)?;
    let changed = statement.execute(rusqlite::params_from_iter(params))?;
    Ok(changed as u64)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    /// How often a statement was compiled again when it was run with several limits.
    fn compiled_again(connection: &Connection) -> i32 {
        let sql = "SELECT event_sn FROM events WHERE event_sn > ?1 ORDER BY event_sn LIMIT ?2";
        let mut statement = connection.prepare(sql).unwrap();
        for limit in 1..=5 {
            let mut rows = statement.query([0, limit]).unwrap();
            while rows.next().unwrap().is_some() {}
        }
        statement.get_status(StatementStatus::RePrepare)
    }

    #[test]
    fn a_statement_is_compiled_once_whatever_it_is_asked() {
        let options = DatabaseOptions::new("sqlite://unused.db");
        let configured = connect(Path::new(":memory:"), &options, READER_CACHE_KIB).unwrap();
        let plain = Connection::open_in_memory().unwrap();
        for connection in [&configured, &plain] {
            connection.execute_batch("CREATE TABLE events (event_sn INTEGER PRIMARY KEY)").unwrap();
        }
        assert_eq!(compiled_again(&configured), 0);
        assert!(compiled_again(&plain) > 0, "SQLite does so by itself; the setting can go");
    }
}
