//! PostgreSQL, through a pool that is warmed when the database is opened.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::StorageError;
use crate::observing::{Statement, Watch};
use crate::options::{DatabaseOptions, Synchronous, Target};
use crate::postgres_readers::{PostgresReaders, Reader};
use crate::value::postgres_arguments;
use crate::{Row, Value};

/// A connection that was idle for longer than this is tested before it is used. Testing one that has just answered would
/// double the cost of every read and find nothing.
pub(crate) const TEST_AFTER_IDLE: Duration = Duration::from_secs(1);

/// How long a request waits for a connection. Shorter than `connect_timeout`, which is for the start: a client that waits
/// for an answer is told soon that there will be none.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a reading statement may take. A network that swallows packets breaks no connection by itself.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings with which PostgreSQL notices within about 11 seconds that a client is gone without a word.
const KEEPALIVE: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

/// How long to wait before it is tried again to reach a database that may be starting.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Has every statement planned once for each connection, and not again for each set of parameters: to plan a long statement takes
/// several times as long as to run it.
///
/// A plan for all parameters must not be good for a few of them only. So it goes by indexes, one row after the other, as SQLite
/// does it, for which the statements are written: what a table takes as a whole is for statistics that say how much is wanted, and
/// the estimate of that, without parameters, is an average over small and very large rooms. Compiling is for plans that take seconds.
///
/// Measured: the first sync of a small room costs 1.3 ms of processor time instead of 3.4, thanks to the plan mode alone. The other
/// settings cost nothing there. Counting statistics and collecting chunks over 200,000 events takes 1.4 s of processor time instead of 2.1,
/// though 25 s on the clock instead of 18, in one run of each.
const PLANS_FOR_GOOD: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_memoize", "off"),
    ("jit", "off"),
];
/// Has the changes of the schema planned as usual: they go through whole tables.
pub(crate) const PLAN_AS_USUAL: &str = "SET LOCAL plan_cache_mode = auto; SET LOCAL enable_seqscan = on; \
                                        SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on";

/// The first connection to a database. One that cannot be reached may be starting, as it may beside this server when the machine
/// starts: it is tried for as long as `patience`.
///
/// # Errors
/// The reason why there is no connection, at once if it is not that the database cannot be reached; [`StorageError::Unusable`] if
/// its texts are not in UTF-8.
pub(crate) async fn first_connection(
    target: &PgConnectOptions,
    patience: Duration,
) -> Result<PgConnection, StorageError> {
    let deadline = Instant::now() + patience;
    let mut has_told = false;
    let mut connection = loop {
        let connected = timeout_at(deadline, PgConnection::connect_with(target)).await;
        let error = match connected {
            Ok(Ok(connection)) => break connection,
            Ok(Err(error)) => StorageError::from(error),
            Err(_) => no_answer("no answer", patience),
        };
        if !error.is_unavailable() {
            return Err(error);
        }
        if Instant::now() + RETRY_PAUSE >= deadline {
            return Err(error);
        }
        if !has_told {
            tracing::warn!(%error, "trying for {} s to reach the database", patience.as_secs());
            has_told = true;
        }
        sleep(RETRY_PAUSE).await;
    };
    let encoding: String = sqlx::query_scalar("SHOW server_encoding").fetch_one(&mut connection).await?;
    if encoding != "UTF8" {
        return Err(StorageError::Unusable(format!(
            "its encoding is {encoding}, which cannot hold all texts: make one with CREATE DATABASE name ENCODING 'UTF8' \
             TEMPLATE template0"
        )));
    }
    Ok(connection)
}

/// Connections to the PostgreSQL database that `options` name, with the settings that the server's have: for a look at what the database
/// makes of statements.
///
/// # Errors
/// [`StorageError`] if it is no PostgreSQL database or cannot be reached.
pub async fn connect_postgres(options: &DatabaseOptions) -> Result<PgPool, StorageError> {
    match options.target()? {
        Target::Postgres(target) => connect(*target, options).await,
        Target::Sqlite(_) => Err(StorageError::Url("it is a SQLite file, which has no pool".to_owned())),
    }
}

/// Opens the pool and its minimum of connections, so that the first requests find them ready.
pub(crate) async fn connect(target: PgConnectOptions, options: &DatabaseOptions) -> Result<PgPool, StorageError> {
    let synchronous_commit = match options.synchronous {
        Synchronous::Full => "on",
        Synchronous::Normal => "off",
    };
    let target = target.application_name("synapse-rust").statement_cache_capacity(256).options([
        ("synchronous_commit", synchronous_commit),
        ("default_transaction_isolation", "read committed"),
        // What is written into the log's table is a literal.
        ("standard_conforming_strings", "on"),
        // A transaction whose client has gone without a word must not keep the log locked.
        ("idle_in_transaction_session_timeout", "30s"),
    ]);
    let target = target.options(PLANS_FOR_GOOD).options(KEEPALIVE);
    let first = first_connection(&target, options.connect_timeout).await?;
    // It has told what there is to know; the pool makes its own.
    first.close().await?;
    let pool = PgPoolOptions::new()
        .min_connections(options.min_connections)
        .max_connections(options.max_connections.max(2))
        .acquire_timeout(options.connect_timeout)
        .idle_timeout(options.idle_timeout)
        .max_lifetime(options.max_lifetime)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TEST_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(target)
        .await?;
    warm(&pool, options.min_connections).await?;
    Ok(pool)
}

async fn warm(pool: &PgPool, connections: u32) -> Result<(), StorageError> {
    let wanted = (0..connections).map(|_| pool.acquire());
    let mut opened = futures::future::try_join_all(wanted).await?;
    let pings = opened.iter_mut().map(|connection| connection.ping());
    futures::future::try_join_all(pings).await?;
    Ok(())
}

/// Runs a reading statement on a connection of the pool; once more if that connection had been lost unnoticed, as all are
/// when the database was restarted.
pub(crate) async fn read<T>(
    (readers, watch): (&PostgresReaders, &Watch),
    statement: &Statement,
    params: &[Value<'_>],
    mut map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let reader = watch.acquire(readers.acquire()).await?;
    let _timer = statement.timer();
    let read = match read_on((readers, reader), statement.sql, params, &mut map).await {
        Err(ReadError::Lost(error)) => {
            tracing::debug!(%error, "a connection to the database was lost");
            read_on((readers, readers.acquire_tested().await?), statement.sql, params, &mut map).await
        }
        answered => answered,
    };
    read.map_err(|(ReadError::Lost(error) | ReadError::Failed(error))| error)
}

enum ReadError {
    /// There was no answer, because there was no connection any more.
    Lost(StorageError),
    Failed(StorageError),
}

async fn read_on<T>(
    (readers, mut reader): (&PostgresReaders, Reader),
    sql: &'static str,
    params: &[Value<'_>],
    map: &mut impl FnMut(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Vec<T>, ReadError> {
    match timeout(READ_TIMEOUT, query(&mut *reader.connection, sql, params, map)).await {
        Ok(Ok(rows)) => {
            readers.give_back(reader);
            Ok(rows)
        }
        Ok(Err(error)) if error.is_unavailable() => {
            reader.discard();
            Err(ReadError::Lost(error))
        }
        Ok(Err(error)) => Err(ReadError::Failed(error)),
        Err(_) => {
            // The answer may still come, or the connection may be dead.
            reader.discard();
            Err(ReadError::Failed(no_answer("no answer", READ_TIMEOUT)))
        }
    }
}

pub(crate) fn no_answer(what: &str, limit: Duration) -> StorageError {
    StorageError::Unavailable(format!("{what} within {} s", limit.as_secs()))
}

pub(crate) async fn query<'c, T>(
    executor: impl sqlx::PgExecutor<'c>,
    sql: &'static str,
    params: &[Value<'_>],
    mut map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let rows = sqlx::query_with(sql, postgres_arguments(params)?).fetch_all(executor).await?;
    rows.iter().map(|row| map(&Row::Postgres(row))).collect()
}

pub(crate) async fn execute(
    connection: &mut PgConnection,
    sql: &'static str,
    params: &[Value<'_>],
) -> Result<u64, StorageError> {
    let done = sqlx::query_with(sql, postgres_arguments(params)?).execute(connection).await?;
    Ok(done.rows_affected())
}

/// A literal of PostgreSQL.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_end_no_literal() {
        assert_eq!(quoted("it's"), "'it''s'");
        assert_eq!(quoted(r"\'; DROP TABLE users; --"), r"'\''; DROP TABLE users; --'");
    }
}
