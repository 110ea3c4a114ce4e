//! Handing writes to the writer.

use database::StorageError;
use tokio::sync::oneshot;

use super::Database;
use crate::frequent::Frequent;
use crate::homeserver::Homeserver;
use crate::{Append, AppendOutcome, Tx};

impl Database {
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
        self.open.write(closure).await
    }

    /// Hands a frequent write to the writer, and returns once the transaction that holds it has committed. `operation` is what
    /// traces call it.
    pub(crate) async fn write_frequent(&self, write: Frequent, operation: &'static str) -> Result<(), StorageError> {
        self.open.write_frequent(write, operation).await
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
        self.open.append(append).await
    }

    /// Waits until every append that was handed to the writer before is stored or refused. Asks the writer only if there is one.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the database cannot be reached.
    pub async fn appends_settled(&self) -> Result<(), StorageError> {
        self.open.appends_settled().await
    }

    /// Holds the log, once everything is written that was handed to the writer before. The holder must hand over events soon, and
    /// must not write anything else before that.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the database cannot be reached.
    pub async fn hold_log(&self) -> Result<HeldLog, StorageError> {
        self.open.hold_log().await.map(HeldLog)
    }
}

/// The log, held by this process until events are handed over or this is dropped.
pub struct HeldLog(database::LogHold<Homeserver>);

impl HeldLog {
    /// Hands over the events. As [`Database::append`].
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the time is up.
    pub fn append(
        self,
        append: Append,
    ) -> Result<oneshot::Receiver<Result<AppendOutcome, StorageError>>, StorageError> {
        self.0.append(append)
    }
}
