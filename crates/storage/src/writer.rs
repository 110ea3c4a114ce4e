//! Group commit: one thread takes the writes that are waiting and commits them in one transaction.
//!
//! While a commit waits for the disk, the writes that arrive gather for the next one, so that the cost of reaching stable
//! storage is shared by all who wait for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use parking_lot::RwLock;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{Instrument as _, Span, debug_span};

use crate::StorageError;
use crate::append::{self, Append, AppendOutcome, Repetitions};
use crate::dialect::Dialect;
use crate::known_rooms::WriterShare;
use crate::log::{LogEntry, LogObserver};
use crate::observing::Watch;
use crate::postgres::no_answer;
use crate::state_chunks::ChunkCache;
use crate::transaction::{InDoubt, Tx, WriteConnection};

/// Most writes in one transaction.
const MAX_BATCH: usize = 512;
/// Writes that may wait for their turn; those who come later wait to be admitted.
pub(crate) const QUEUE_LENGTH: usize = 4096;
/// How long the writer waits before it tries to connect again to a database that has gone.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// How long the database may take to answer a connection, or the beginning of a transaction.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long one transaction may take. A network that swallows packets breaks no connection by itself.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);

type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A write that waits for its turn.
pub(crate) enum Write {
    Closure(Box<dyn Job>),
    Append(Box<PendingAppend>),
}

pub(crate) struct PendingAppend {
    pub(crate) append: Append,
    pub(crate) outcome: Option<AppendOutcome>,
    /// The span of whoever asked for it.
    pub(crate) asked_in: Span,
    pub(crate) reply: oneshot::Sender<Result<AppendOutcome, StorageError>>,
}

/// A closure over a transaction, with a place for its answer.
pub(crate) trait Job: Send {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> LocalFuture<'a, Result<(), StorageError>>;
    fn settle(self: Box<Self>, outcome: Result<(), StorageError>);
    fn asked_in(&self) -> &Span;
}

pub(crate) struct ClosureJob<F, T> {
    pub(crate) closure: F,
    pub(crate) answer: Option<T>,
    /// The span of whoever asked for it.
    pub(crate) asked_in: Span,
    pub(crate) reply: oneshot::Sender<Result<T, StorageError>>,
}

impl<F, T> Job for ClosureJob<F, T>
where
    F: AsyncFn(&mut Tx) -> Result<T, StorageError> + Send,
    T: Send,
{
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> LocalFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            self.answer = Some((self.closure)(tx).await?);
            Ok(())
        })
    }

    fn settle(self: Box<Self>, outcome: Result<(), StorageError>) {
        let unanswered = || StorageError::Statement("the write did not run".to_owned());
        let Self { answer, reply, .. } = *self;
        // Whoever asked may have gone away; the write is done all the same.
        drop(reply.send(outcome.and_then(|()| answer.ok_or_else(unanswered))));
    }

    fn asked_in(&self) -> &Span {
        &self.asked_in
    }
}

impl Write {
    fn settle(self, outcome: Result<(), StorageError>) {
        match self {
            Self::Closure(job) => job.settle(outcome),
            Self::Append(pending) => {
                let unanswered = || StorageError::Statement("the append did not run".to_owned());
                let PendingAppend { outcome: appended, reply, .. } = *pending;
                drop(reply.send(outcome.and_then(|()| appended.ok_or_else(unanswered))));
            }
        }
    }

    fn asked_in(&self) -> &Span {
        match self {
            Self::Closure(job) => job.asked_in(),
            Self::Append(pending) => &pending.asked_in,
        }
    }
}

/// The span of a transaction. It belongs to the trace of the first who asked; the traces of the others are linked.
fn transaction_span(batch: &[Write]) -> Span {
    let mut asked_in = batch.iter().map(|write| write.asked_in().id());
    let first = asked_in.next().flatten();
    let span = debug_span!(parent: first, "transaction", writes = batch.len());
    asked_in.flatten().for_each(|other| {
        span.follows_from(other);
    });
    span
}

/// Where the writer gets its connection.
pub(crate) enum WriterSource {
    Sqlite(Option<rusqlite::Connection>),
    Postgres(PgPool),
}

/// Who is told of committed transactions.
pub(crate) type Observers = Arc<RwLock<Vec<Arc<dyn LogObserver>>>>;

pub(crate) struct Writer {
    source: WriterSource,
    dialect: Arc<Dialect>,
    chunks: Arc<ChunkCache>,
    share: Arc<WriterShare>,
    observers: Observers,
    watch: Arc<Watch>,
    /// Rung when jobs have been scheduled.
    job_bell: watch::Sender<()>,
    runtime: tokio::runtime::Handle,
    /// Holds back everything after it: entries are published in the order of their positions.
    in_doubt: Option<InDoubt>,
}

impl Writer {
    pub(crate) fn new(
        source: WriterSource,
        dialect: Arc<Dialect>,
        chunks: Arc<ChunkCache>,
        share: Arc<WriterShare>,
        observers: Observers,
        job_bell: watch::Sender<()>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let watch = Arc::new(Watch::new(None));
        Self { source, dialect, chunks, share, observers, watch, job_bell, runtime, in_doubt: None }
    }

    /// Reports to `watch`.
    pub(crate) fn watched_by(self, watch: Arc<Watch>) -> Self {
        Self { watch, ..self }
    }

    /// Serves writes until nobody can send any more. Without it the process could only refuse, so a panic outside of a single
    /// write is the end of the process, and whoever supervises it starts it again.
    pub(crate) fn serve_or_abort(self, queue: mpsc::Receiver<Write>) {
        if catch_unwind(AssertUnwindSafe(|| self.serve_all(queue))).is_err() {
            tracing::error!("the writer's thread ended with a panic; the server ends with it");
            std::process::abort();
        }
    }

    fn serve_all(mut self, mut queue: mpsc::Receiver<Write>) {
        let mut tx = None;
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let runtime = self.runtime.clone();
        while let Some(first) = runtime.block_on(self.next(&mut tx, &mut queue)) {
            batch.push(first);
            while batch.len() < MAX_BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            runtime.block_on(self.serve(&mut tx, &mut batch));
        }
        if let Some(tx) = tx {
            runtime.block_on(tx.close());
        }
    }

    /// The next write. Meanwhile what is in doubt is cleared up, because somebody may wait for what was committed.
    async fn next(&mut self, connected: &mut Option<Tx>, queue: &mut mpsc::Receiver<Write>) -> Option<Write> {
        while self.in_doubt.is_some() {
            if let Ok(next) = timeout(RECONNECT_PAUSE, queue.recv()).await {
                return next;
            }
            match self.connect().await {
                Ok(tx) => *connected = Some(tx),
                Err(error) => tracing::debug!(%error, "the last transaction is still in doubt"),
            }
        }
        queue.recv().await
    }

    async fn serve(&mut self, connected: &mut Option<Tx>, batch: &mut Vec<Write>) {
        if connected.is_none() {
            match self.connect().await {
                Ok(tx) => *connected = Some(tx),
                Err(error) => {
                    tracing::warn!(%error, "the writer cannot connect to the database");
                    batch.drain(..).for_each(|write| write.settle(Err(error.duplicate())));
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                    return;
                }
            }
        }
        let Some(tx) = connected else { return };
        let mut outcome = self.commit(tx, batch, Repetitions::Unlikely).await;
        if matches!(outcome, Err(StorageError::Constraint(_))) {
            outcome = self.commit(tx, batch, Repetitions::LookedUp).await;
        }
        match outcome {
            Ok(()) => batch.drain(..).for_each(|write| write.settle(Ok(()))),
            // One write among several is at fault: each gets a transaction of its own, so that only that one fails.
            Err(error) if !error.is_unavailable() && batch.len() > 1 => self.serve_singly(connected, batch).await,
            Err(error) => {
                batch.drain(..).for_each(|write| write.settle(Err(error.duplicate())));
                if error.is_unavailable() && self.is_remote() {
                    *connected = None;
                }
            }
        }
    }

    async fn serve_singly(&mut self, connected: &mut Option<Tx>, batch: &mut Vec<Write>) {
        for write in batch.drain(..) {
            let Some(tx) = connected else {
                write.settle(Err(lost()));
                continue;
            };
            let mut single = vec![write];
            let outcome = self.commit(tx, &mut single, Repetitions::LookedUp).await;
            if self.is_remote() && outcome.as_ref().is_err_and(StorageError::is_unavailable) {
                *connected = None;
            }
            if let Some(write) = single.pop() {
                write.settle(outcome);
            }
        }
    }

    /// Runs the batch in one transaction and publishes what it says; rolls back if anything fails.
    async fn commit(&mut self, tx: &mut Tx, batch: &mut [Write], repetitions: Repetitions) -> Result<(), StorageError> {
        let span = transaction_span(batch);
        let outcome = self.run(tx, batch, repetitions).instrument(span).await;
        if outcome.is_err() {
            self.watch.write_failed();
        }
        outcome
    }

    async fn run(&mut self, tx: &mut Tx, batch: &mut [Write], repetitions: Repetitions) -> Result<(), StorageError> {
        let started = Instant::now();
        let run = async {
            let begun = timeout(CONNECT_TIMEOUT, tx.begin(positions_of(batch))).await;
            begun.map_err(|_| no_answer("no answer", CONNECT_TIMEOUT))??;
            // As if a statement had failed: it is rolled back, and those beside it are written.
            let run = AssertUnwindSafe(run_batch(tx, batch, repetitions)).catch_unwind();
            run.await.unwrap_or_else(|_| Err(StorageError::Statement("a write ended with a panic".to_owned())))
        };
        let error = match timeout(TRANSACTION_TIMEOUT, run).await.unwrap_or_else(|_| Err(too_slow())) {
            Ok(()) => {
                let worked = started.elapsed();
                let committing = timeout(TRANSACTION_TIMEOUT, tx.commit()).instrument(debug_span!("commit"));
                match committing.await.unwrap_or_else(|_| Err(too_slow())) {
                    Ok(entries) => {
                        let took = started.elapsed();
                        self.watch.committed(batch.len(), took, took.saturating_sub(worked));
                        self.publish(&entries);
                        if tx.has_scheduled_jobs() {
                            self.job_bell.send_replace(());
                        }
                        return Ok(());
                    }
                    Err(error) => {
                        if error.is_unavailable() {
                            self.in_doubt = tx.in_doubt();
                        }
                        error
                    }
                }
            }
            Err(error) => error,
        };
        // A connection that failed is dropped, and the database rolls back by itself.
        if !(error.is_unavailable() && self.is_remote())
            && let Err(rollback) = tx.rollback().await
        {
            tracing::warn!(error = %rollback, "a transaction could not be rolled back");
        }
        Err(error)
    }

    fn is_remote(&self) -> bool {
        matches!(self.source, WriterSource::Postgres(_))
    }

    fn publish(&self, entries: &[LogEntry]) {
        if entries.is_empty() {
            return;
        }
        for observer in self.observers.read().iter() {
            observer.committed(entries);
        }
    }

    /// A connection for transactions, on which nothing is in doubt any more.
    async fn connect(&mut self) -> Result<Tx, StorageError> {
        let connection = match &mut self.source {
            WriterSource::Sqlite(connection) => WriteConnection::Sqlite(connection.take().ok_or_else(lost)?),
            WriterSource::Postgres(pool) => {
                // Not from the pool, which tries again and again to connect: whoever waits is told at once.
                let options = pool.connect_options();
                let connected = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await;
                WriteConnection::Postgres(Box::new(
                    connected.map_err(|_| no_answer("no connection", CONNECT_TIMEOUT))??,
                ))
            }
        };
        let mut tx = Tx::new(connection, self.dialect.clone(), self.chunks.clone(), self.share.clone());
        if let Some(in_doubt) = &self.in_doubt {
            let asked = timeout(CONNECT_TIMEOUT, tx.was_committed(in_doubt)).await;
            let was_committed = asked.map_err(|_| no_answer("no answer", CONNECT_TIMEOUT))??;
            tracing::info!(was_committed, "the outcome of the last transaction is known");
            if let Some(in_doubt) = self.in_doubt.take()
                && was_committed
            {
                self.publish(&in_doubt.published);
            }
        }
        Ok(tx)
    }
}

fn lost() -> StorageError {
    StorageError::Unavailable("the writer's connection is lost".to_owned())
}

fn too_slow() -> StorageError {
    no_answer("no answer", TRANSACTION_TIMEOUT)
}

/// How many positions of the log the events of a batch take.
fn positions_of(batch: &[Write]) -> i64 {
    let positions = batch.iter().map(|write| match write {
        Write::Append(pending) => pending.append.positions(),
        Write::Closure(_) => 0,
    });
    positions.sum()
}

async fn run_batch(tx: &mut Tx, batch: &mut [Write], repetitions: Repetitions) -> Result<(), StorageError> {
    let mut appends: Vec<&mut PendingAppend> = Vec::new();
    let mut jobs: Vec<&mut Box<dyn Job>> = Vec::new();
    for write in batch {
        match write {
            Write::Append(pending) => appends.push(pending),
            Write::Closure(job) => jobs.push(job),
        }
    }
    if !appends.is_empty() {
        append::append_all(tx, &mut appends, repetitions).await?;
    }
    for job in jobs {
        job.run(tx).await?;
    }
    Ok(())
}
