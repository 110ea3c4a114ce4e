//! The connections to PostgreSQL that read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use sqlx::{Connection as _, Postgres};
use tokio::time::timeout;

use crate::StorageError;
use crate::postgres::{ACQUIRE_TIMEOUT, TEST_AFTER_IDLE, no_answer};

/// A connection that was idle for this long goes back to the pool, which closes the surplus.
const KEPT_IDLE: Duration = Duration::from_secs(10);
/// A connection goes back to the pool after this time at the latest: the pool renews old ones.
const KEPT_LONGEST: Duration = Duration::from_secs(600);

/// The connections of a pool that read. The one that was used last is used first: it has the statements prepared and planned,
/// while the pool would give out the one that was not used for longest, and ask each whether it is alive when it comes back.
pub(crate) struct PostgresReaders {
    pool: PgPool,
    /// Used lately, the last one at the end. Fewer than the pool has, so that it never is without.
    recent: Mutex<Vec<Recent>>,
    most_recent: usize,
    /// Requests that wait for the pool: what becomes free is theirs.
    waiting: AtomicUsize,
}

struct Recent {
    connection: PoolConnection<Postgres>,
    since: Instant,
    used: Instant,
}

/// A connection that is being used. If it is not given back it goes back to the pool, which tests it.
pub(crate) struct Reader {
    pub(crate) connection: PoolConnection<Postgres>,
    since: Instant,
}

/// Counts a request that waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl PostgresReaders {
    pub(crate) fn new(pool: PgPool) -> Self {
        let most_recent = usize::try_from(pool.options().get_max_connections() / 2).unwrap_or(1).max(1);
        Self { pool, recent: Mutex::default(), most_recent, waiting: AtomicUsize::default() }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Connections that are not in use.
    pub(crate) fn idle(&self) -> usize {
        self.pool.num_idle() + self.recent.lock().len()
    }

    /// A connection, soon or not at all.
    pub(crate) async fn acquire(&self) -> Result<Reader, StorageError> {
        while let Some(Recent { mut connection, since, used }) = self.take_recent() {
            let is_fresh = used.elapsed() <= TEST_AFTER_IDLE;
            if is_fresh || matches!(timeout(ACQUIRE_TIMEOUT, connection.ping()).await, Ok(Ok(()))) {
                return Ok(Reader { connection, since });
            }
            drop(connection.detach());
        }
        let waiting = Waiting::new(&self.waiting);
        // One may have come back before this request was counted.
        if let Some(Recent { connection, since, used }) = self.take_recent()
            && used.elapsed() <= TEST_AFTER_IDLE
        {
            return Ok(Reader { connection, since });
        }
        let acquired = timeout(ACQUIRE_TIMEOUT, self.pool.acquire()).await;
        drop(waiting);
        let connection = acquired.map_err(|_| no_answer("no connection", ACQUIRE_TIMEOUT))??;
        Ok(Reader { connection, since: Instant::now() })
    }

    /// As [`PostgresReaders::acquire`], after a connection turned out to be broken: others may be, too.
    pub(crate) async fn acquire_tested(&self) -> Result<Reader, StorageError> {
        let tested = async {
            loop {
                let mut reader = self.acquire().await?;
                if reader.connection.ping().await.is_ok() {
                    return Ok(reader);
                }
                reader.discard();
            }
        };
        timeout(ACQUIRE_TIMEOUT, tested).await.unwrap_or_else(|_| Err(no_answer("no connection", ACQUIRE_TIMEOUT)))
    }

    /// Keeps a connection that has answered for the next request.
    pub(crate) fn give_back(&self, reader: Reader) {
        let now = Instant::now();
        let mut recent = self.recent.lock();
        let is_old = now.duration_since(reader.since) > KEPT_LONGEST;
        let is_wanted = self.waiting.load(Ordering::SeqCst) > 0 || self.pool.is_closed();
        let is_idle = recent.first().is_some_and(|first| now.duration_since(first.used) > KEPT_IDLE);
        let idle = is_idle.then(|| recent.remove(0));
        let unkept = if is_old || is_wanted || recent.len() >= self.most_recent {
            Some(reader)
        } else {
            recent.push(Recent { connection: reader.connection, since: reader.since, used: now });
            None
        };
        // The pool is not told while others wait for the lock.
        drop(recent);
        drop((idle, unkept));
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        // From here on none is kept.
        let closing = self.pool.close();
        self.recent.lock().clear();
        closing.await;
    }

    fn take_recent(&self) -> Option<Recent> {
        self.recent.lock().pop()
    }
}

impl Reader {
    /// Gives up a connection that may still receive an answer to this request.
    pub(crate) fn discard(self) {
        drop(self.connection.detach());
    }
}
