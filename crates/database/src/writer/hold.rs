//! Holding the log while events are built.
//!
//! Events are built on the head of their room without a lock that other processes see, and are refused if another process was
//! faster. Where several processes write to one room all the time, one of them could be refused again and again. After some refusals
//! it holds the log: no process writes between its reading of the head and its append, up to a time limit.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{CONNECT_TIMEOUT, PendingAppend, TRANSACTION_TIMEOUT, Write, Writer, too_slow};
use crate::database::AppendReceiver;
use crate::domain::{Domain, Repetitions};
use crate::postgres::no_answer;
use crate::{OpenDatabase, StorageError};

/// How long the log is held until events are handed over. All writes of all nodes wait meanwhile.
const HOLD_TIMEOUT: Duration = Duration::from_secs(1);

/// A request to hold the log.
pub(crate) struct PendingHold<D: Domain> {
    held: oneshot::Sender<()>,
    append: oneshot::Receiver<Box<PendingAppend<D>>>,
}

/// The log, held by this process until events are handed over or this is dropped.
pub struct LogHold<D: Domain> {
    database: OpenDatabase<D>,
    append: oneshot::Sender<Box<PendingAppend<D>>>,
}

impl<D: Domain> OpenDatabase<D> {
    /// Holds the log, once everything is written that was handed to the writer before. The holder must hand over events soon, and
    /// must not write anything else before that.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the database cannot be reached.
    pub async fn hold_log(&self) -> Result<LogHold<D>, StorageError> {
        let (held, is_held) = oneshot::channel();
        let (sender, append) = oneshot::channel();
        self.enqueue(Write::Hold(Box::new(PendingHold { held, append }))).await?;
        is_held.await.map_err(|_| StorageError::Unavailable("the log could not be held".to_owned()))?;
        Ok(LogHold { database: self.clone(), append: sender })
    }
}

impl<D: Domain> LogHold<D> {
    /// Hands over the events. As [`OpenDatabase::append`].
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the time is up.
    pub fn append(self, append: D::Append) -> Result<AppendReceiver<D>, StorageError> {
        let (pending, outcome) = self.database.pending_append(append);
        let too_late = |_| StorageError::Unavailable("building an event took too long".to_owned());
        self.append.send(Box::new(pending)).map_err(too_late)?;
        Ok(outcome)
    }
}

impl<D: Domain> Writer<D> {
    /// Holds the log until events are handed over, and writes them.
    pub(super) async fn hold(&mut self, connected: &mut Option<D::Tx>, pending: PendingHold<D>) {
        let mut handed_over = None;
        let written = match self.begin_to_hold(connected).await {
            Ok(tx) => self.write_held(tx, pending, &mut handed_over).await,
            Err(error) => {
                // The request learns of it, because `pending` is dropped here.
                tracing::warn!(%error, "the log cannot be held");
                Err(error)
            }
        };
        if let Err(error) = &written {
            if error.is_unavailable() && self.is_remote() {
                *connected = None;
            } else if let Some(tx) = connected
                && let Err(rollback) = tx.as_mut().rollback().await
            {
                tracing::warn!(error = %rollback, "a transaction could not be rolled back");
            }
        }
        if let Some(append) = handed_over {
            Write::Append(append).settle(written);
        }
    }

    /// Begins the transaction that holds the log; on a new connection if the old one broke while it was idle.
    async fn begin_to_hold<'t>(&mut self, connected: &'t mut Option<D::Tx>) -> Result<&'t mut D::Tx, StorageError> {
        if let Some(tx) = connected {
            match begin::<D>(tx).await {
                Err(error) if error.is_unavailable() && self.is_remote() => *connected = None,
                begun => begun?,
            }
        }
        match connected {
            Some(tx) => Ok(tx),
            None => {
                let tx = connected.insert(self.connect().await?);
                begin::<D>(tx).await?;
                Ok(tx)
            }
        }
    }

    async fn write_held(
        &self,
        tx: &mut D::Tx,
        pending: PendingHold<D>,
        handed_over: &mut Option<Box<PendingAppend<D>>>,
    ) -> Result<(), StorageError> {
        tx.as_mut().hold_log().await?;
        let given_up = || StorageError::Statement("nothing was built on the log that was held".to_owned());
        pending.held.send(()).map_err(|()| given_up())?;
        let append = timeout(HOLD_TIMEOUT, pending.append).await.map_err(|_| given_up())?.map_err(|_| given_up())?;
        let pending = handed_over.insert(append);
        let appends = [&pending.append];
        let writing = D::append_all(tx, &appends, Repetitions::LookedUp);
        let outcomes = timeout(TRANSACTION_TIMEOUT, writing).await.map_err(|_| too_slow())??;
        pending.outcome = outcomes.into_iter().next();
        self.commit_and_publish(tx).await
    }
}

async fn begin<D: Domain>(tx: &mut D::Tx) -> Result<(), StorageError> {
    let begun = timeout(CONNECT_TIMEOUT, tx.as_mut().begin(Some(0))).await;
    begun.unwrap_or_else(|_| Err(no_answer("no answer", CONNECT_TIMEOUT)))
}
