//! The narrow adapter over the two engines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use homeserver_core::{MemoryBudget, Position};
use parking_lot::{Mutex, RwLock};
use room_engine::state_map::MemoryChunks;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, debug_span};

use crate::append::{Append, AppendOutcome};
use crate::dialect::{Dialect, Engine};
use crate::frequent::Frequent;
use crate::known_rooms::WriterShare;
use crate::log::publisher::{LostLog, Publisher};
use crate::log::{LogObserver, Writing, following};
use crate::observing::{DatabaseObserver, PoolState, Watch, writer_of};
use crate::options::{DatabaseOptions, Target};
use crate::postgres_readers::PostgresReaders;
use crate::readers::{Readers, Reading};
use crate::sqlite::{self, SqliteReaders};
use crate::state_chunks::ChunkCache;
use crate::transaction::Tx;
use crate::value::{Row, Value};
use crate::writer::{ClosureJob, PendingAppend, PendingFrequent, QUEUE_LENGTH, Write, Writer, WriterSource};
use crate::{StorageError, migrations, postgres};

const POSITION: &str = "SELECT position FROM log_head";

/// Letters of the name of a process that has opened the database.
const NODE_LENGTH: usize = 12;

/// An open database. Clones share the connections.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
    /// Chunks of states that are not stored (yet).
    overlay: Option<Arc<RwLock<MemoryChunks>>>,
}

struct Inner {
    reading: Arc<Reading>,
    chunks: Arc<ChunkCache>,
    memory: MemoryBudget,
    writes: RwLock<Option<mpsc::Sender<Write>>>,
    publisher: Arc<Publisher>,
    /// Ends what follows the log.
    closing: CancellationToken,
    /// Shared with every append that is under way.
    under_way: Arc<()>,
    job_bell: watch::Sender<()>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Who opens a database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opener {
    /// A server, which keeps in memory what the log tells.
    Server,
    /// A command beside it.
    Other,
}

impl Database {
    /// Opens the database, creates or migrates its schema, and warms its connections.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be reached, or its schema is newer than this program.
    pub async fn open(options: &DatabaseOptions) -> Result<Self, StorageError> {
        Self::open_with(options, Watch::new(None), Opener::Other).await
    }

    /// As [`Database::open`]; tells `observer` what happens.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be reached, or its schema is newer than this program.
    pub async fn open_observed(
        options: &DatabaseOptions,
        observer: Arc<dyn DatabaseObserver>,
    ) -> Result<Self, StorageError> {
        Self::open_with(options, Watch::new(Some(observer)), Opener::Other).await
    }

    /// As [`Database::open`], for a server: it follows what other processes write, for as long as the database is open. On SQLite it
    /// is the only one that does so, and holds a [`ServerLock`](crate::ServerLock). Tells `observer` what happens.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be reached, or its schema is newer than this program.
    pub async fn open_for_server(
        options: &DatabaseOptions,
        observer: Arc<dyn DatabaseObserver>,
    ) -> Result<Self, StorageError> {
        Self::open_with(options, Watch::new(Some(observer)), Opener::Server).await
    }

    async fn open_with(options: &DatabaseOptions, watch: Watch, opener: Opener) -> Result<Self, StorageError> {
        let watch = Arc::new(watch);
        let (readers, mut source, engine) = match options.target()? {
            Target::Sqlite(path) => {
                let connection = sqlite::connect_writer(&path, options)?;
                let source = WriterSource::Sqlite(Some(connection));
                (Readers::Sqlite(SqliteReaders::open(&path, options, watch.clone())?), source, Engine::Sqlite)
            }
            Target::Postgres(target) => {
                let pool = postgres::connect(*target, options).await?;
                (Readers::Postgres(PostgresReaders::new(pool.clone())), WriterSource::Postgres(pool), Engine::Postgres)
            }
        };
        let dialect = Arc::new(Dialect::new(engine, watch.clone()));
        migrations::migrate(&mut source, &dialect).await?;

        let reading = Arc::new(Reading { readers, dialect: dialect.clone(), watch: watch.clone() });
        let end = reading.query(POSITION, &[], |row| row.get(0)).await?.into_iter().next().unwrap_or(Position::START);
        let node: Arc<str> = homeserver_core::random_string(NODE_LENGTH).into();
        let is_server = opener == Opener::Server;
        // Beside the server of a SQLite database there are only commands, and those do not follow.
        let writing = match engine {
            Engine::Sqlite if is_server => Writing::Nothing,
            _ => Writing::Down,
        };
        let publisher = Arc::new(Publisher::new(&reading, node, writing, end, is_server));
        let closing = CancellationToken::new();
        if is_server {
            let target = match &source {
                WriterSource::Sqlite(_) => None,
                WriterSource::Postgres(pool) => Some((*pool.connect_options()).clone()),
            };
            tokio::spawn(following::follow(publisher.clone(), target, closing.clone()));
        }
        let (writes, queue) = mpsc::channel(QUEUE_LENGTH);
        let chunks = Arc::new(ChunkCache::new(&options.memory));
        let job_bell = watch::Sender::new(());
        let share = WriterShare::of(&options.memory);
        let runtime = tokio::runtime::Handle::current();
        let writer =
            Writer::new(source, dialect, (chunks.clone(), share), publisher.clone(), watch, job_bell.clone(), runtime);
        let thread = std::thread::Builder::new()
            .name("synapse-writer".to_owned())
            .spawn(move || writer.serve_or_abort(queue))
            .map_err(|error| StorageError::Unavailable(format!("cannot start the writer's thread: {error}")))?;
        let writer = Mutex::new(Some(thread));
        let writes = RwLock::new(Some(writes));
        let (memory, under_way) = (options.memory.clone(), Arc::new(()));
        let inner = Inner { reading, chunks, memory, writes, publisher, closing, under_way, job_bell, writer };
        Ok(Self { inner: Arc::new(inner), overlay: None })
    }

    /// The same database, with chunks of states over those that are stored.
    #[must_use]
    pub fn overlaid(&self, overlay: Arc<RwLock<MemoryChunks>>) -> Self {
        Self { inner: self.inner.clone(), overlay: Some(overlay) }
    }

    pub(crate) fn chunk_overlay(&self) -> Option<Arc<RwLock<MemoryChunks>>> {
        self.overlay.clone()
    }

    pub(crate) fn chunk_cache(&self) -> Arc<ChunkCache> {
        self.inner.chunks.clone()
    }

    /// What the caches of this database, and of what is made from it, share.
    #[must_use]
    pub fn memory(&self) -> &MemoryBudget {
        &self.inner.memory
    }

    /// Which engine this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.inner.reading.readers {
            Readers::Sqlite(_) => Engine::Sqlite,
            Readers::Postgres(_) => Engine::Postgres,
        }
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
        self.inner.reading.query(sql, params, map).await
    }

    /// Runs a reading statement once for each set of parameters, and maps every row of the answers. For statements that PostgreSQL
    /// has another form of, which asks for all at once; SQLite reads some of them in one transaction.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or a row is not as expected.
    pub(crate) async fn query_each<'v, T, const N: usize>(
        &self,
        sql: &'static str,
        rounds: impl Iterator<Item = [Value<'v>; N]>,
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        self.inner.reading.query_each(sql, rounds, map).await
    }

    /// Runs a reading statement and maps the first row of its answer, if there is one.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or the row is not as expected.
    pub async fn query_optional<T>(
        &self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        Ok(self.query(sql, params, map).await?.into_iter().next())
    }

    /// Runs `closure` in a transaction, together with the other writes that are waiting, and returns its answer once the
    /// transaction has committed. The closure runs again from the start if a write that shared its transaction failed, so it
    /// must not have effects outside of the transaction.
    ///
    /// # Errors
    /// What the closure fails with, or [`StorageError`] if the transaction does not commit.
    pub async fn write<T, F>(&self, closure: F) -> Result<T, StorageError>
    where
        F: AsyncFn(&mut Tx) -> Result<T, StorageError> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write = async {
            let asked_in = Span::current();
            self.enqueue(Write::Closure(Box::new(ClosureJob { closure, answer: None, asked_in, reply }))).await?;
            answer.await.map_err(|_| closed())?
        };
        let operation = writer_of(std::any::type_name::<F>());
        write.instrument(debug_span!("write", otel.name = operation, operation)).await
    }

    /// Hands a frequent write to the writer, and returns once the transaction that holds it has committed. `operation` is what
    /// traces call it.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub(crate) async fn write_frequent(&self, write: Frequent, operation: &'static str) -> Result<(), StorageError> {
        let (reply, outcome) = oneshot::channel();
        let write = async {
            let asked_in = Span::current();
            self.enqueue(Write::Frequent(Box::new(PendingFrequent { write, asked_in, reply }))).await?;
            outcome.await.map_err(|_| closed())?
        };
        write.instrument(debug_span!("write", otel.name = operation, operation)).await
    }

    /// Hands events to the writer, in the order of the calls, and returns at once; the receiver has the outcome when the
    /// transaction that holds them has committed.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the database is closed.
    pub async fn append(
        &self,
        append: Append,
    ) -> Result<oneshot::Receiver<Result<AppendOutcome, StorageError>>, StorageError> {
        let (pending, outcome) = self.pending_append(append);
        self.enqueue(Write::Append(Box::new(pending))).await?;
        Ok(outcome)
    }

    /// An append as the writer takes it, and where its outcome will be.
    pub(crate) fn pending_append(
        &self,
        append: Append,
    ) -> (PendingAppend, oneshot::Receiver<Result<AppendOutcome, StorageError>>) {
        let (reply, outcome) = oneshot::channel();
        let (under_way, asked_in) = (self.inner.under_way.clone(), Span::current());
        (PendingAppend { append, outcome: None, under_way, asked_in, reply }, outcome)
    }

    /// Waits until every append that was handed to the writer before is stored or refused. Asks the writer only if there is one.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the database cannot be reached.
    pub async fn appends_settled(&self) -> Result<(), StorageError> {
        if Arc::strong_count(&self.inner.under_way) > 1 {
            // Writes are settled in their order.
            self.write(async |_| Ok(())).await?;
        }
        Ok(())
    }

    pub(crate) async fn enqueue(&self, write: Write) -> Result<(), StorageError> {
        let writes = self.inner.writes.read().clone().ok_or_else(closed)?;
        writes.send(write).await.map_err(|_| closed())
    }

    /// Tells `observer` of every transaction that commits from now on.
    pub fn observe(&self, observer: Arc<dyn LogObserver>) {
        self.observe_after(|_| observer);
    }

    /// Tells the observer that `make` makes of every transaction after the position that `make` is given.
    pub fn observe_after(&self, make: impl FnOnce(Position) -> Arc<dyn LogObserver>) {
        self.inner.publisher.observe(make);
    }

    /// Waits until everything up to `position` was told to the observers of this process, no longer than `patience`. Tells
    /// whether it was: not if the log is not so long.
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

    /// There are other servers, or there are none.
    pub(crate) fn note_other_nodes(&self, has_others: bool) {
        self.inner.publisher.note_others(has_others);
    }

    /// The name of this process among those that use the database, while it runs.
    #[must_use]
    pub fn node(&self) -> &str {
        self.inner.publisher.node()
    }

    /// Changes whenever a transaction of this node that scheduled jobs has committed.
    #[must_use]
    pub fn job_bell(&self) -> watch::Receiver<()> {
        self.inner.job_bell.subscribe()
    }

    /// The last position in the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn position(&self) -> Result<Position, StorageError> {
        let position = self.query_optional(POSITION, &[], |row| row.get(0)).await?;
        Ok(position.unwrap_or(Position::START))
    }

    /// The last position in the log, after the transactions that others have begun to commit: a process that was killed
    /// leaves its last one to PostgreSQL, which may finish it when the next process already runs. Whoever begins to follow
    /// the log after this position misses nothing.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails, or others do not finish in time.
    pub async fn settled_position(&self) -> Result<Position, StorageError> {
        self.write(async |tx| tx.lock_log().await).await
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
        let (open, idle, max) = match &self.inner.reading.readers {
            Readers::Sqlite(readers) => (readers.connections(), readers.idle(), readers.connections()),
            Readers::Postgres(readers) => {
                let pool = readers.pool();
                (pool.size() as usize, readers.idle(), pool.options().get_max_connections() as usize)
            }
        };
        let writes = self.inner.writes.read();
        let queued_writes = writes.as_ref().map_or(0, |queue| QUEUE_LENGTH.saturating_sub(queue.capacity()));
        PoolState { open, idle, max, waiting: self.inner.reading.watch.waiting(), queued_writes }
    }

    /// How long ago the writer last committed, if it has.
    #[must_use]
    pub fn last_commit(&self) -> Option<Duration> {
        self.inner.reading.watch.last_commit()
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        match &self.inner.reading.readers {
            Readers::Sqlite(readers) => readers.connections() + 1,
            Readers::Postgres(readers) => readers.pool().size() as usize + 1,
        }
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
        self.inner.reading.close().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

fn closed() -> StorageError {
    StorageError::Unavailable("the database is closed".to_owned())
}
