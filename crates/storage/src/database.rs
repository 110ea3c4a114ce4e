//! The database with the homeserver's statements.

mod writing;

use std::sync::Arc;
use std::time::Duration;

use database::{
    DatabaseObserver, DatabaseOptions, Engine, LogObserver, LostLog, OpenDatabase, Opener, PoolState, Row,
    StorageError, Value,
};
use homeserver_core::{MemoryBudget, Position, Timestamp};
use parking_lot::RwLock;
use room_engine::state_map::MemoryChunks;
use tokio::sync::watch;

pub use self::writing::HeldLog;
use crate::LogEntry;
use crate::homeserver::Homeserver;
use crate::known_rooms::WriterShare;
use crate::state_chunks::ChunkCache;

/// An open database. Clones share the connections.
///
/// It is a [`database::OpenDatabase`]; the modules of this crate give it the statements of their tables.
#[derive(Clone)]
pub struct Database {
    open: OpenDatabase<Homeserver>,
    shared: Arc<SharedWithWriter>,
    /// Chunks of states that are not stored (yet).
    overlay: Option<Arc<RwLock<MemoryChunks>>>,
}

/// What the writer's thread changes at a commit and others read.
struct SharedWithWriter {
    chunks: Arc<ChunkCache>,
    /// Rung when jobs have been scheduled.
    job_bell: watch::Sender<()>,
}

impl Database {
    /// Opens the database, creates or migrates its schema, and warms its connections.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be reached, or its schema is newer than this program.
    pub async fn open(options: &DatabaseOptions) -> Result<Self, StorageError> {
        Self::open_as(Opener::Command, options, None).await
    }

    /// As [`Database::open`]; tells `observer` what happens.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be reached, or its schema is newer than this program.
    pub async fn open_observed(
        options: &DatabaseOptions,
        observer: Arc<dyn DatabaseObserver>,
    ) -> Result<Self, StorageError> {
        Self::open_as(Opener::Command, options, Some(observer)).await
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
        Self::open_as(Opener::Server, options, Some(observer)).await
    }

    async fn open_as(
        opener: Opener,
        options: &DatabaseOptions,
        observer: Option<Arc<dyn DatabaseObserver>>,
    ) -> Result<Self, StorageError> {
        let chunks = Arc::new(ChunkCache::new(&options.memory));
        let job_bell = watch::Sender::new(());
        let share = WriterShare::of(&options.memory);
        let domain = Homeserver { chunks: chunks.clone(), share, job_bell: job_bell.clone() };
        let open = OpenDatabase::open(domain, options, observer, opener).await?;
        Ok(Self { open, shared: Arc::new(SharedWithWriter { chunks, job_bell }), overlay: None })
    }

    /// The same database, with chunks of states over those that are stored.
    #[must_use]
    pub fn overlaid(&self, overlay: Arc<RwLock<MemoryChunks>>) -> Self {
        Self { overlay: Some(overlay), ..self.clone() }
    }

    pub(crate) fn chunk_overlay(&self) -> Option<Arc<RwLock<MemoryChunks>>> {
        self.overlay.clone()
    }

    pub(crate) fn chunk_cache(&self) -> Arc<ChunkCache> {
        self.shared.chunks.clone()
    }

    /// The budget that all caches share which keep something of this database.
    #[must_use]
    pub fn memory(&self) -> &MemoryBudget {
        self.open.memory()
    }

    /// Which engine this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.open.engine()
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
        self.open.query(sql, params, map).await
    }

    /// As [`OpenDatabase::query_each`].
    pub(crate) async fn query_each<'v, T, const N: usize>(
        &self,
        sql: &'static str,
        rounds: impl Iterator<Item = [Value<'v>; N]>,
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        self.open.query_each(sql, rounds, map).await
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
        Ok(self.open.query(sql, params, map).await?.into_iter().next())
    }

    /// Tells `observer` of every transaction that commits from now on.
    pub fn observe(&self, observer: Arc<dyn LogObserver<LogEntry>>) {
        self.observe_after(|_| observer);
    }

    /// Tells the observer that `make` makes of every transaction after the position that `make` is given.
    pub fn observe_after(&self, make: impl FnOnce(Position) -> Arc<dyn LogObserver<LogEntry>>) {
        self.open.observe_after(make);
    }

    /// Waits until everything up to `position` was told to the observers of this process, no longer than `patience`. Returns
    /// whether it was; it was not if the log ends before.
    ///
    /// # Errors
    /// [`StorageError`] if what others have written cannot be read.
    pub async fn catch_up(&self, position: Position, patience: Duration) -> Result<bool, StorageError> {
        self.open.catch_up(position, patience).await
    }

    /// Whether, and since when, this process has lost track of the log: then what it keeps in memory may be out of date.
    #[must_use]
    pub fn lost_log(&self) -> Option<LostLog> {
        self.open.lost_log()
    }

    /// There are other servers, or there are none.
    pub(crate) fn note_other_nodes(&self, has_others: bool) {
        self.open.note_other_nodes(has_others);
    }

    /// The name of this process, which no other process on the database has.
    #[must_use]
    pub fn node(&self) -> &str {
        self.open.node()
    }

    /// Changes whenever a transaction of this node that scheduled jobs has committed.
    #[must_use]
    pub fn job_bell(&self) -> watch::Receiver<()> {
        self.shared.job_bell.subscribe()
    }

    /// The last position in the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn position(&self) -> Result<Position, StorageError> {
        self.open.position().await
    }

    /// The last position in the log, after the transactions that others have begun to commit; see
    /// [`OpenDatabase::settled_position`].
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails, or others do not finish in time.
    pub async fn settled_position(&self) -> Result<Position, StorageError> {
        self.open.settled_position().await
    }

    /// Removes the oldest rows of the log that were written before `written_before`, which every process has read by now.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_old_log_entries(&self, written_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
        self.open.remove_old_log_entries(written_before, limit).await
    }

    /// How long the database takes to answer the simplest question.
    ///
    /// # Errors
    /// [`StorageError`] if it does not answer.
    pub async fn ping(&self) -> Result<Duration, StorageError> {
        self.open.ping().await
    }

    /// The connections for reading and the writer's queue, now.
    #[must_use]
    pub fn pool(&self) -> PoolState {
        self.open.pool()
    }

    /// How long ago the writer last committed, if it has.
    #[must_use]
    pub fn last_commit(&self) -> Option<Duration> {
        self.open.last_commit()
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.connections()
    }

    /// Finishes the writes that are waiting and closes the connections. Later calls fail with
    /// [`StorageError::Unavailable`].
    pub async fn close(&self) {
        self.open.close().await;
    }
}
