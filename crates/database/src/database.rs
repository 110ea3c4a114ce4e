//! An open database: the connections that read, the writer's queue, and the log.

mod opening;
mod writing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use homeserver_core::{MemoryBudget, Position, Timestamp};
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::opening::Opener;
pub use self::writing::AppendReceiver;
use crate::domain::Domain;
use crate::log::publisher::Publisher;
use crate::log::{LogObserver, LostLog};
use crate::observing::PoolState;
use crate::readers::Readers;
use crate::writer::{QUEUE_LENGTH, Write};
use crate::{Engine, Row, StorageError, Value, params, postgres};

const POSITION: &str = "SELECT position FROM log_head";

/// An open database with the statements of a domain. Clones share the connections.
pub struct OpenDatabase<D: Domain> {
    inner: Arc<Inner<D>>,
}

struct Inner<D: Domain> {
    readers: Arc<Readers>,
    memory: MemoryBudget,
    writes: RwLock<Option<mpsc::Sender<Write<D>>>>,
    publisher: Arc<Publisher<D::Entry>>,
    /// Ends what follows the log.
    closing: CancellationToken,
    /// Shared with every append that is under way.
    under_way: Arc<()>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl<D: Domain> Clone for OpenDatabase<D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<D: Domain> OpenDatabase<D> {
    /// The budget that all caches share which keep something of this database.
    #[must_use]
    pub fn memory(&self) -> &MemoryBudget {
        &self.inner.memory
    }

    /// Which engine this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.inner.readers.engine()
    }

    /// Runs a reading statement and maps every row of its answer.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or a row is not as expected.
    pub async fn query<T>(
        &self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        self.inner.readers.query(sql, params, map).await
    }

    /// Runs a reading statement once for each set of parameters, and maps every row of the answers. For statements that PostgreSQL
    /// has another form of, which asks for all at once; SQLite reads some of them in one transaction.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or a row is not as expected.
    pub async fn query_each<'v, T, const N: usize>(
        &self,
        sql: &'static str,
        rounds: impl Iterator<Item = [Value<'v>; N]>,
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        self.inner.readers.query_each(sql, rounds, map).await
    }

    /// Tells the observer that `make` makes of every transaction after the position that `make` is given.
    pub fn observe_after(&self, make: impl FnOnce(Position) -> Arc<dyn LogObserver<D::Entry>>) {
        self.inner.publisher.observe(make);
    }

    /// Waits until everything up to `position` was told to the observers of this process, no longer than `patience`. Returns
    /// whether it was; it was not if the log ends before.
    ///
    /// # Errors
    /// [`StorageError`] if what others have written cannot be read.
    pub async fn catch_up(&self, position: Position, patience: Duration) -> Result<bool, StorageError> {
        if self.inner.publisher.told() >= position {
            return Ok(true);
        }
        let following = tokio::time::timeout(patience, self.inner.publisher.follow());
        let told = following.await.map_err(|_| postgres::no_answer("no answer", patience))??;
        Ok(told >= position)
    }

    /// Whether, and since when, this process has lost track of the log: then what it keeps in memory may be out of date.
    #[must_use]
    pub fn lost_log(&self) -> Option<LostLog> {
        self.inner.publisher.lost()
    }

    /// There are other servers, which are to be woken when this process writes, or there are none.
    pub fn note_other_nodes(&self, has_others: bool) {
        self.inner.publisher.note_others(has_others);
    }

    /// The name of this process, which no other process on the database has.
    #[must_use]
    pub fn node(&self) -> &str {
        self.inner.publisher.node()
    }

    /// The last position in the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn position(&self) -> Result<Position, StorageError> {
        let position = self.query(POSITION, &[], |row| row.get(0)).await?;
        Ok(position.into_iter().next().unwrap_or(Position::START))
    }

    /// The last position in the log, after the transactions that others have begun to commit: a process that was killed
    /// leaves its last one to PostgreSQL, which may finish it when the next process already runs. A follower that begins after this
    /// position misses nothing.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails, or others do not finish in time.
    pub async fn settled_position(&self) -> Result<Position, StorageError> {
        self.write(async |tx: &mut D::Tx| tx.as_mut().lock_log().await).await
    }

    /// Removes the oldest rows of the log that were written before `written_before`, which every process has read by now.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_old_log_entries(&self, written_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT position, written_at FROM log_entries ORDER BY position LIMIT $1";
        let read = |row: &Row<'_>| Ok((row.get::<i64>(0)?, row.get::<Timestamp>(1)?));
        let found = self.query(find, params![limit], read).await?;
        let old = found.into_iter().take_while(|(_, at)| *at < written_before).map(|(position, _)| position);
        let Some(last) = old.last() else { return Ok(0) };
        let sql = "DELETE FROM log_entries WHERE position <= $1";
        self.write(async move |tx: &mut D::Tx| tx.as_mut().execute(sql, params![last]).await).await
    }

    /// How long the database takes to answer the simplest question.
    ///
    /// # Errors
    /// [`StorageError`] if it does not answer.
    pub async fn ping(&self) -> Result<Duration, StorageError> {
        let start = Instant::now();
        self.query("SELECT 1", &[], |_| Ok(())).await?;
        Ok(start.elapsed())
    }

    /// The connections for reading and the writer's queue, now.
    #[must_use]
    pub fn pool(&self) -> PoolState {
        let writes = self.inner.writes.read();
        let queued_writes = writes.as_ref().map_or(0, |queue| QUEUE_LENGTH.saturating_sub(queue.capacity()));
        self.inner.readers.state(queued_writes)
    }

    /// How long ago the writer last committed, if it has.
    #[must_use]
    pub fn last_commit(&self) -> Option<Duration> {
        self.inner.readers.watch.last_commit()
    }

    /// How many connections are open, the writer's included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.readers.state(0).open + 1
    }

    /// Finishes the writes that are waiting and closes the connections. Later calls fail with
    /// [`StorageError::Unavailable`].
    pub async fn close(&self) {
        self.inner.writes.write().take();
        let thread = self.inner.writer.lock().take();
        if let Some(thread) = thread {
            // It does not end with a panic.
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
        self.inner.closing.cancel();
        self.inner.readers.close().await;
    }
}

impl<D: Domain> Drop for Inner<D> {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}
