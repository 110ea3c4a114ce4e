//! Group commit: one thread takes the writes that are waiting and commits them in one transaction.
//!
//! While a commit waits for the disk, the writes that arrive gather for the next one, so that the cost of reaching stable
//! storage is shared by all who wait for it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};

use crate::append::{self, Append, AppendOutcome};
use crate::dialect::Dialect;
use crate::log::{LogEntry, LogObserver};
use crate::transaction::{Tx, WriteConnection};
use crate::StorageError;

/// Most writes in one transaction.
const MAX_BATCH: usize = 512;
/// Writes that may wait for their turn; those who come later wait to be admitted.
pub(crate) const QUEUE_LENGTH: usize = 4096;
/// How long the writer waits before it tries to connect again to a database that has gone.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A write that waits for its turn.
pub(crate) enum Write {
    Closure(Box<dyn Job>),
    Append(Box<PendingAppend>),
}

pub(crate) struct PendingAppend {
    pub(crate) append: Append,
    pub(crate) outcome: Option<AppendOutcome>,
    pub(crate) reply: oneshot::Sender<Result<AppendOutcome, StorageError>>,
}

/// A closure over a transaction, with a place for its answer.
pub(crate) trait Job: Send {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> LocalFuture<'a, Result<(), StorageError>>;
    fn settle(self: Box<Self>, outcome: Result<(), StorageError>);
}

pub(crate) struct ClosureJob<F, T> {
    pub(crate) closure: F,
    pub(crate) answer: Option<T>,
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
}

/// Where the writer gets its connection.
pub(crate) enum WriterSource {
    Sqlite(Option<rusqlite::Connection>),
    Postgres(PgPool),
}

/// Who is told of committed transactions.
pub(crate) type Observers = Arc<RwLock<Vec<Arc<dyn LogObserver>>>>;

pub(crate) struct Writer {
    pub(crate) source: WriterSource,
    pub(crate) dialect: Arc<Dialect>,
    pub(crate) observers: Observers,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Writer {
    /// Serves writes until nobody can send any more.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        let mut tx = None;
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let runtime = self.runtime.clone();
        while let Some(first) = queue.blocking_recv() {
            batch.push(first);
            while batch.len() < MAX_BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            runtime.block_on(self.serve(&mut tx, &mut batch));
        }
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
        match self.commit(tx, batch).await {
            Ok(()) => batch.drain(..).for_each(|write| write.settle(Ok(()))),
            // One write among several is at fault: each gets a transaction of its own, so that only that one fails.
            Err(error) if !error.is_unavailable() && batch.len() > 1 => self.serve_singly(tx, batch).await,
            Err(error) => {
                batch.drain(..).for_each(|write| write.settle(Err(error.duplicate())));
                if error.is_unavailable() && matches!(self.source, WriterSource::Postgres(_)) {
                    *connected = None;
                }
            }
        }
    }

    async fn serve_singly(&mut self, tx: &mut Tx, batch: &mut Vec<Write>) {
        for write in batch.drain(..) {
            let mut single = vec![write];
            let outcome = self.commit(tx, &mut single).await;
            if let Some(write) = single.pop() {
                write.settle(outcome);
            }
        }
    }

    /// Runs the batch in one transaction and publishes what it says; rolls back if anything fails.
    async fn commit(&self, tx: &mut Tx, batch: &mut [Write]) -> Result<(), StorageError> {
        let committed = match run_batch(tx, batch).await {
            Ok(()) => tx.commit().await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(entries) => {
                self.publish(&entries);
                Ok(())
            }
            Err(error) => {
                if let Err(rollback) = tx.rollback().await {
                    tracing::warn!(error = %rollback, "a transaction could not be rolled back");
                }
                Err(error)
            }
        }
    }

    fn publish(&self, entries: &[LogEntry]) {
        if entries.is_empty() {
            return;
        }
        for observer in self.observers.read().iter() {
            observer.committed(entries);
        }
    }

    async fn connect(&mut self) -> Result<Tx, StorageError> {
        let connection = match &mut self.source {
            WriterSource::Sqlite(connection) => WriteConnection::Sqlite(
                connection.take().ok_or_else(|| StorageError::Unavailable("the writer's connection is lost".to_owned()))?,
            ),
            WriterSource::Postgres(pool) => WriteConnection::Postgres(pool.acquire().await?),
        };
        Ok(Tx::new(connection, self.dialect.clone()))
    }
}

async fn run_batch(tx: &mut Tx, batch: &mut [Write]) -> Result<(), StorageError> {
    tx.begin().await?;
    let mut appends: Vec<&mut PendingAppend> = Vec::new();
    let mut jobs: Vec<&mut Box<dyn Job>> = Vec::new();
    for write in batch {
        match write {
            Write::Append(pending) => appends.push(pending),
            Write::Closure(job) => jobs.push(job),
        }
    }
    if !appends.is_empty() {
        append::append_all(tx, &mut appends).await?;
    }
    for job in jobs {
        job.run(tx).await?;
    }
    Ok(())
}
