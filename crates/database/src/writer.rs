//! Group commit: one thread takes the writes that are waiting and commits them in one transaction.
//!
//! While a commit waits for the disk, the writes that arrive gather for the next one, so that the cost of reaching stable
//! storage is shared by all of them.

mod batch;
pub(crate) mod hold;
mod stage;
mod write;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, debug_span};

use crate::StorageError;
use crate::dialect::Dialect;
use crate::domain::Domain;
use crate::log::publisher::Publisher;
use crate::log::{LogRow, Writing};
use crate::observing::Watch;
use crate::postgres::no_answer;
use crate::transaction::{Transaction, WriteConnection};
use batch::{Mode, Outcomes, WriteOutcome, positions_of};
use hold::PendingHold;
use stage::Stage;
pub(crate) use write::{ClosureJob, PendingAppend, PendingFrequent, Write};

/// Most writes in one transaction.
const MAX_BATCH: usize = 512;
/// Writes that may wait for their turn. When the queue is full, requests wait until they can queue a write.
pub(crate) const QUEUE_LENGTH: usize = 4096;
/// How long the writer waits before it tries to connect again to a database that has gone.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// How long the database may take to answer a connection, or the beginning of a transaction.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long one transaction may take. A network that swallows packets breaks no connection by itself.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a transaction is tried again because others were in the way.
const CONFLICTS: u32 = 5;
/// How many connections a batch may lose before all of it fails.
const LOSSES: u32 = 2;
/// How long the writer waits before it tries a transaction again, times the number of attempts.
const CONFLICT_PAUSE: Duration = Duration::from_millis(10);

/// The span of a transaction. It belongs to the trace of the request that asked first; the traces of the others are linked.
fn transaction_span<D: Domain>(batch: &[Write<D>]) -> Span {
    let mut asked_in = batch.iter().filter_map(Write::asked_in).map(Span::id);
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

impl WriterSource {
    /// Where a follower of the log can be woken, on PostgreSQL.
    pub(crate) fn listen_at(&self) -> Option<PgConnectOptions> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(pool) => Some((*pool.connect_options()).clone()),
        }
    }
}

pub(crate) struct Writer<D: Domain> {
    pub(crate) domain: D,
    pub(crate) source: WriterSource,
    pub(crate) dialect: Arc<Dialect>,
    pub(crate) publisher: Arc<Publisher<D::Entry>>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl<D: Domain> Writer<D> {
    /// Serves writes until the queue is closed. Without it the process could only refuse, so a panic outside of a single
    /// write ends the process, and its supervisor starts it again. When nobody has the database any more (`closing`), or does not wait
    /// until it is closed, the runtime may shut down in the middle of a write, and timers panic then: that ends the thread alone, and the
    /// database rolls back.
    pub(crate) fn serve_or_abort(self, queue: mpsc::Receiver<Write<D>>, closing: &CancellationToken) {
        let runtime = self.runtime.clone();
        if catch_unwind(AssertUnwindSafe(|| self.serve_all(queue))).is_err() {
            if closing.is_cancelled() || has_ended(&runtime) {
                tracing::warn!("the last write ended with the runtime, before it was committed");
                return;
            }
            tracing::error!("the writer's thread ended with a panic; the server ends with it");
            std::process::abort();
        }
    }

    fn serve_all(mut self, mut queue: mpsc::Receiver<Write<D>>) {
        let mut tx = None;
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let runtime = self.runtime.clone();
        while let Some(first) = runtime.block_on(queue.recv()) {
            let mut hold = None;
            batch.extend(without_hold(first, &mut hold));
            while hold.is_none()
                && batch.len() < MAX_BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.extend(without_hold(next, &mut hold));
            }
            runtime.block_on(self.serve(&mut tx, &mut batch));
            if let Some(hold) = hold {
                runtime.block_on(self.hold(&mut tx, *hold));
            }
        }
        if let Some(tx) = tx {
            let transaction: Transaction<D> = tx.into();
            runtime.block_on(transaction.close());
        }
    }

    async fn serve(&mut self, connected: &mut Option<D::Tx>, batch: &mut Vec<Write<D>>) {
        let mut losses = 0;
        while !batch.is_empty() {
            if connected.is_none() {
                match self.connect().await {
                    Ok(tx) => *connected = Some(tx),
                    Err(error) => {
                        tracing::warn!(%error, "the writer cannot connect to the database");
                        settle_all(batch, &error);
                        tokio::time::sleep(RECONNECT_PAUSE).await;
                        return;
                    }
                }
            }
            let Some(tx) = connected else { return };
            let stage = Stage::cell();
            match self.commit_batch(tx, batch, &stage).await {
                Ok(outcomes) => settle(batch, outcomes),
                Err(error) => {
                    let is_lost = error.is_unavailable() && self.is_remote();
                    if is_lost {
                        *connected = None;
                        losses += 1;
                    }
                    match stage.get() {
                        // The connection broke while it was idle, and nothing has run: a new one may do.
                        Stage::Beginning if is_lost && losses == 1 => {}
                        // A closure that does not come to an end takes no other write with it; but if that goes on, it is the
                        // database.
                        Stage::Closure(index) if is_lost && losses <= LOSSES && index < batch.len() => {
                            batch.remove(index).settle(Err(error));
                        }
                        _ => settle_all(batch, &error),
                    }
                }
            }
        }
    }

    /// Commits the batch, or as much of it as can be.
    async fn commit_batch(
        &mut self,
        tx: &mut D::Tx,
        batch: &mut [Write<D>],
        stage: &Cell<Stage>,
    ) -> Result<Outcomes, StorageError> {
        let mut mode = Mode::Together;
        let mut conflicts = 0;
        loop {
            match self.run_and_commit(tx, batch, mode, stage).await {
                Err(StorageError::Conflict(reason)) if conflicts < CONFLICTS => {
                    conflicts += 1;
                    tracing::debug!(reason, conflicts, "a transaction is tried again");
                    tokio::time::sleep(CONFLICT_PAUSE * conflicts).await;
                }
                Err(StorageError::Conflict(reason)) => return Err(StorageError::Unavailable(reason)),
                Err(error) if error.is_unavailable() || mode == Mode::Apart => return Err(error),
                // Run again, it would fail again; but for an append, which then looks whether it is a repetition.
                Err(error) if matches!(batch, [Write::Closure(_) | Write::Frequent(_)]) => return Err(error),
                Err(_) => mode = Mode::Apart,
                Ok(outcomes) => return Ok(outcomes),
            }
        }
    }

    /// Runs the batch in one transaction and publishes its entries; rolls back if anything fails.
    async fn run_and_commit(
        &mut self,
        tx: &mut D::Tx,
        batch: &mut [Write<D>],
        mode: Mode,
        stage: &Cell<Stage>,
    ) -> Result<Outcomes, StorageError> {
        let span = transaction_span(batch);
        stage.set(Stage::Beginning);
        let outcome = self.run(tx, batch, mode, stage).instrument(span).await;
        if outcome.is_err() {
            self.watch.write_failed();
        }
        outcome
    }

    async fn run(
        &mut self,
        tx: &mut D::Tx,
        batch: &mut [Write<D>],
        mode: Mode,
        stage: &Cell<Stage>,
    ) -> Result<Outcomes, StorageError> {
        let started = Instant::now();
        let run = async {
            let begun = timeout(CONNECT_TIMEOUT, tx.as_mut().begin(positions_of(batch))).await;
            begun.map_err(|_| no_answer("no answer", CONNECT_TIMEOUT))??;
            stage.set(Stage::Typed);
            batch::run(tx, batch, mode, stage).await
        };
        let error = match timeout(TRANSACTION_TIMEOUT, run).await.unwrap_or_else(|_| Err(too_slow())) {
            Ok(outcomes) => {
                stage.set(Stage::Committing);
                let worked = started.elapsed();
                match self.commit_and_publish(tx).await {
                    Ok(()) => {
                        let took = started.elapsed();
                        let written = outcomes.iter().filter(|it| matches!(it, WriteOutcome::Done)).count();
                        self.watch.committed(written, took, took.saturating_sub(worked));
                        return Ok(outcomes);
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        // A connection that failed is dropped, and the database rolls back by itself.
        if !(error.is_unavailable() && self.is_remote())
            && let Err(rollback) = tx.as_mut().rollback().await
        {
            tracing::warn!(error = %rollback, "a transaction could not be rolled back");
        }
        Err(error)
    }

    fn is_remote(&self) -> bool {
        matches!(self.source, WriterSource::Postgres(_))
    }

    /// Commits, and has the observers of the log told. If the connection breaks it is unknown whether the database has committed, until
    /// the follower reads what was written down.
    async fn commit_and_publish(&self, tx: &mut D::Tx) -> Result<(), StorageError> {
        let tx: &mut Transaction<D> = tx.as_mut();
        let batch = tx.log_batch();
        let row = match (&batch, self.publisher.writing()) {
            (Some(batch), Writing::Down) => {
                Some(LogRow::new(batch, self.publisher.node(), self.publisher.has_others())?)
            }
            _ => None,
        };
        let last = batch.as_ref().map(|batch| batch.last);
        batch.into_iter().for_each(|batch| self.publisher.expect(batch));
        let committing = timeout(TRANSACTION_TIMEOUT, tx.commit(row.as_ref())).instrument(debug_span!("commit"));
        let committed = committing.await.unwrap_or_else(|_| Err(too_slow()));
        match (&committed, last) {
            (Ok(()), Some(last)) => self.publisher.committed(last).await,
            (Err(error), Some(last)) if !(error.is_unavailable() && self.is_remote()) => self.publisher.withdraw(last),
            _ => {}
        }
        committed
    }

    /// A connection for transactions.
    async fn connect(&mut self) -> Result<D::Tx, StorageError> {
        let connection = match &mut self.source {
            WriterSource::Sqlite(connection) => WriteConnection::Sqlite(connection.take().ok_or_else(lost)?),
            WriterSource::Postgres(pool) => {
                // Not from the pool, which tries again and again to connect: a write that waits is to fail at once.
                let options = pool.connect_options();
                let connected = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await;
                let connection = connected.map_err(|_| no_answer("no connection", CONNECT_TIMEOUT))??;
                WriteConnection::Postgres(Box::new(connection))
            }
        };
        Ok(Transaction::new(connection, self.dialect.clone(), self.domain.memory()).into())
    }
}

/// Whether a runtime is shut down: its timers panic.
fn has_ended(runtime: &tokio::runtime::Handle) -> bool {
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(tokio::time::sleep(Duration::ZERO)))).is_err()
}

/// The write, unless it is to hold the log: that comes after those before it.
fn without_hold<D: Domain>(write: Write<D>, hold: &mut Option<Box<PendingHold<D>>>) -> Option<Write<D>> {
    match write {
        Write::Hold(pending) => {
            *hold = Some(pending);
            None
        }
        write => Some(write),
    }
}

fn lost() -> StorageError {
    StorageError::Unavailable("the writer's connection is lost".to_owned())
}

fn too_slow() -> StorageError {
    no_answer("no answer", TRANSACTION_TIMEOUT)
}

fn settle_all<D: Domain>(batch: &mut Vec<Write<D>>, error: &StorageError) {
    batch.drain(..).for_each(|write| write.settle(Err(error.clone())));
}

/// Settles what has run. Writes that were postponed stay in the batch.
fn settle<D: Domain>(batch: &mut Vec<Write<D>>, outcomes: Outcomes) {
    debug_assert_eq!(batch.len(), outcomes.len(), "every write of a batch has an outcome");
    for (write, outcome) in std::mem::take(batch).into_iter().zip(outcomes) {
        match outcome {
            WriteOutcome::Done => write.settle(Ok(())),
            WriteOutcome::Failed(error) => write.settle(Err(error)),
            WriteOutcome::Postponed => batch.push(write),
        }
    }
}
