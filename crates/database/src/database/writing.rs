//! Handing writes to the writer.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{Instrument as _, Span, debug_span};

use super::OpenDatabase;
use crate::StorageError;
use crate::domain::Domain;
use crate::observing::writer_of;
use crate::writer::{ClosureJob, PendingAppend, PendingFrequent, Write};

/// Receives the outcome of an append, once the transaction that holds it has committed.
pub type AppendReceiver<D> = oneshot::Receiver<Result<<D as Domain>::AppendOutcome, StorageError>>;

impl<D: Domain> OpenDatabase<D> {
    /// Runs `closure` in a transaction, together with the other writes that are waiting, and returns its answer once the
    /// transaction has committed. The closure runs again from the start if a write that shared its transaction failed, so it
    /// must not have effects outside of the transaction.
    ///
    /// # Errors
    /// What the closure fails with, or [`StorageError`] if the transaction does not commit.
    pub async fn write<T, F>(&self, closure: F) -> Result<T, StorageError>
    where
        F: AsyncFn(&mut D::Tx) -> Result<T, StorageError> + Send + 'static,
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
    pub async fn write_frequent(&self, write: D::Frequent, operation: &'static str) -> Result<(), StorageError> {
        let (reply, outcome) = oneshot::channel();
        let write = async {
            let asked_in = Span::current();
            self.enqueue(Write::Frequent(Box::new(PendingFrequent { write, asked_in, reply }))).await?;
            outcome.await.map_err(|_| closed())?
        };
        write.instrument(debug_span!("write", otel.name = operation, operation)).await
    }

    /// Hands an append to the writer, in the order of the calls, and returns at once; the receiver has the outcome when the
    /// transaction that holds it has committed.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the database is closed.
    pub async fn append(&self, append: D::Append) -> Result<AppendReceiver<D>, StorageError> {
        let (pending, outcome) = self.pending_append(append);
        self.enqueue(Write::Append(Box::new(pending))).await?;
        Ok(outcome)
    }

    /// An append as the writer takes it, and the receiver of its outcome.
    pub(crate) fn pending_append(&self, append: D::Append) -> (PendingAppend<D>, AppendReceiver<D>) {
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
            self.write(async |_: &mut D::Tx| Ok(())).await?;
        }
        Ok(())
    }

    pub(crate) async fn enqueue(&self, write: Write<D>) -> Result<(), StorageError> {
        let writes = self.inner.writes.read().clone().ok_or_else(closed)?;
        writes.send(write).await.map_err(|_| closed())
    }
}

fn closed() -> StorageError {
    StorageError::Unavailable("the database is closed".to_owned())
}
