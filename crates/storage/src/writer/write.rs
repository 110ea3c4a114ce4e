//! A write that waits for its turn.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::Span;

use crate::StorageError;
use crate::append::{Append, AppendOutcome};
use crate::frequent::Frequent;
use crate::transaction::Tx;
use crate::writer::hold::PendingHold;

type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A write that waits for its turn. What is frequent says what it is, so that a batch writes it with few statements; a closure
/// over the transaction is for what is rare.
pub(crate) enum Write {
    Append(Box<PendingAppend>),
    Frequent(Box<PendingFrequent>),
    Closure(Box<dyn Job>),
    /// Always a transaction of its own.
    Hold(Box<PendingHold>),
}

pub(crate) struct PendingAppend {
    pub(crate) append: Append,
    pub(crate) outcome: Option<AppendOutcome>,
    /// Tells the database that this append is under way, until it is dropped.
    pub(crate) under_way: Arc<()>,
    /// The span of the request that it is for.
    pub(crate) asked_in: Span,
    pub(crate) reply: oneshot::Sender<Result<AppendOutcome, StorageError>>,
}

pub(crate) struct PendingFrequent {
    pub(crate) write: Frequent,
    /// The span of the request that it is for.
    pub(crate) asked_in: Span,
    pub(crate) reply: oneshot::Sender<Result<(), StorageError>>,
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
    /// The span of the request that it is for.
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
        // The request may be gone; the write is done all the same.
        drop(reply.send(outcome.and_then(|()| answer.ok_or_else(unanswered))));
    }

    fn asked_in(&self) -> &Span {
        &self.asked_in
    }
}

impl Write {
    pub(super) fn settle(self, outcome: Result<(), StorageError>) {
        match self {
            Self::Closure(job) => job.settle(outcome),
            Self::Frequent(pending) => drop(pending.reply.send(outcome)),
            // Whoever waits learns from its end that nothing is held.
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
