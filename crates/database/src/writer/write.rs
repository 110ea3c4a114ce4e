//! A write that waits for its turn.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::Span;

use crate::StorageError;
use crate::domain::Domain;
use crate::writer::hold::PendingHold;

type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A write that waits for its turn. A frequent write is data, so that a batch writes many with few statements; a closure over the
/// transaction is for what is rare.
pub(crate) enum Write<D: Domain> {
    Append(Box<PendingAppend<D>>),
    Frequent(Box<PendingFrequent<D>>),
    Closure(Box<dyn Job<D>>),
    /// Always a transaction of its own.
    Hold(Box<PendingHold<D>>),
}

pub(crate) struct PendingAppend<D: Domain> {
    pub(crate) append: D::Append,
    pub(crate) outcome: Option<D::AppendOutcome>,
    /// Tells the database that this append is under way, until it is dropped.
    pub(crate) under_way: Arc<()>,
    /// The span of the request that it is for.
    pub(crate) asked_in: Span,
    pub(crate) reply: oneshot::Sender<Result<D::AppendOutcome, StorageError>>,
}

pub(crate) struct PendingFrequent<D: Domain> {
    pub(crate) write: D::Frequent,
    /// The span of the request that it is for.
    pub(crate) asked_in: Span,
    pub(crate) reply: oneshot::Sender<Result<(), StorageError>>,
}

/// A closure over a transaction, which keeps its answer until the commit.
pub(crate) trait Job<D: Domain>: Send {
    fn run<'a>(&'a mut self, tx: &'a mut D::Tx) -> LocalFuture<'a, Result<(), StorageError>>;
    fn settle(self: Box<Self>, outcome: Result<(), StorageError>);
    fn asked_in(&self) -> &Span;
}

pub(crate) struct ClosureJob<F, T> {
    pub(crate) closure: F,
    pub(crate) answer: Option<T>,
    /// The span of the request that it is for.
    pub(crate) asked_in: Span,
    pub(crate) reply: oneshot::Sender<Result<T, StorageError>>,
}

impl<D, F, T> Job<D> for ClosureJob<F, T>
where
    D: Domain,
    F: AsyncFn(&mut D::Tx) -> Result<T, StorageError> + Send,
    T: Send,
{
    fn run<'a>(&'a mut self, tx: &'a mut D::Tx) -> LocalFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            self.answer = Some((self.closure)(tx).await?);
            Ok(())
        })
    }

    fn settle(self: Box<Self>, outcome: Result<(), StorageError>) {
        let unanswered = || StorageError::Statement("the write did not run".to_owned());
        let Self { answer, reply, .. } = *self;
        // The request may be gone; the write is done all the same.
        drop(reply.send(outcome.and_then(|()| answer.ok_or_else(unanswered))));
    }

    fn asked_in(&self) -> &Span {
        &self.asked_in
    }
}

impl<D: Domain> Write<D> {
    pub(super) fn settle(self, outcome: Result<(), StorageError>) {
        match self {
            Self::Closure(job) => job.settle(outcome),
            Self::Frequent(pending) => drop(pending.reply.send(outcome)),
            // Dropping it tells the request that nothing is held.
            Self::Hold(pending) => drop(pending),
            Self::Append(pending) => {
                let unanswered = || StorageError::Statement("the append did not run".to_owned());
                let PendingAppend { outcome: appended, under_way, reply, .. } = *pending;
                drop(under_way);
                drop(reply.send(outcome.and_then(|()| appended.ok_or_else(unanswered))));
            }
        }
    }

    pub(super) fn asked_in(&self) -> Option<&Span> {
        match self {
            Self::Closure(job) => Some(job.asked_in()),
            Self::Append(pending) => Some(&pending.asked_in),
            Self::Frequent(pending) => Some(&pending.asked_in),
            Self::Hold(_) => None,
        }
    }
}
