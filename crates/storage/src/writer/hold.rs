//! Holding the log while events are built.
//!
//! Events are built on the head of their room without any lock that other processes would see, and are refused if one of them was
//! faster. Where several write to one room all the time, one of them could be refused again and again. So after some refusals it
//! holds the log: nobody writes anything from before it reads the head until its events are written, or the time is up.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{CONNECT_TIMEOUT, PendingAppend, TRANSACTION_TIMEOUT, Write, Writer, too_slow};
use crate::append::{self, Append, AppendOutcome, Repetitions};
use crate::postgres::no_answer;
use crate::transaction::Tx;
use crate::{Database, StorageError};

/// How long the log is held for somebody who builds events. All writes of all nodes wait meanwhile.
const HOLD_TIMEOUT: Duration = Duration::from_secs(1);

/// A request to hold the log.
pub(crate) struct PendingHold {
    held: oneshot::Sender<()>,
    append: oneshot::Receiver<Box<PendingAppend>>,
}

/// The log, held by this process until events are handed over or this is dropped.
pub struct HeldLog {
    database: Database,
    append: oneshot::Sender<Box<PendingAppend>>,
}

impl Database {
    /// Holds the log, once everything is written that was handed to the writer before. Whoever has it must hand over events
    /// soon, and may not write anything else before that.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the database cannot be reached.
    pub async fn hold_log(&self) -> Result<HeldLog, StorageError> {
        let (held, is_held) = oneshot::channel();
        let (sender, append) = oneshot::channel();
        self.enqueue(Write::Hold(Box::new(PendingHold { held, append }))).await?;
        is_held.await.map_err(|_| StorageError::Unavailable("the log could not be held".to_owned()))?;
        Ok(HeldLog { database: self.clone(), append: sender })
    }
}

impl HeldLog {
    /// Hands over the events. As [`Database::append`].
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if the time is up.
    pub fn append(
        self,
        append: Append,
    ) -> Result<oneshot::Receiver<Result<AppendOutcome, StorageError>>, StorageError> {
        let (pending, outcome) = self.database.pending_append(append);
        let too_late = |_| StorageError::Unavailable("building an event took too long".to_owned());
        self.append.send(Box::new(pending)).map_err(too_late)?;
        Ok(outcome)
    }
}

impl Writer {
    /// Holds the log for one who builds events, and writes them.
    pub(super) async fn hold(&mut self, connected: &mut Option<Tx>, pending: PendingHold) {
        let mut handed_over = None;
        let written = match self.begin_to_hold(connected).await {
            Ok(tx) => self.write_held(tx, pending, &mut handed_over).await,
            Err(error) => {
                // The one that waits is told, because nobody tells it that the log is held.
                tracing::warn!(%error, "the log cannot be held");
                Err(error)
            }
        };
        if let Err(error) = &written {
            if error.is_unavailable() && self.is_remote() {
                *connected = None;
            } else if let Some(tx) = connected
                && let Err(rollback) = tx.rollback().await
            {
                tracing::warn!(error = %rollback, "a transaction could not be rolled back");
            }
        }
        if let Some(append) = handed_over {
            Write::Append(append).settle(written);
        }
    }

    /// Begins the transaction that holds the log; on a new connection if the one there was broke while nobody used it.
    async fn begin_to_hold<'t>(&mut self, connected: &'t mut Option<Tx>) -> Result<&'t mut Tx, StorageError> {
        if let Some(tx) = connected {
            match begin(tx).await {
                Err(error) if error.is_unavailable() && self.is_remote() => *connected = None,
                begun => begun?,
            }
        }
        match connected {
            Some(tx) => Ok(tx),
            None => {
                let tx = connected.insert(self.connect().await?);
                begin(tx).await?;
                Ok(tx)
            }
        }
    }

    async fn write_held(
        &self,
        tx: &mut Tx,
        pending: PendingHold,
        handed_over: &mut Option<Box<PendingAppend>>,
    ) -> Result<(), StorageError> {
        tx.hold_log().await?;
        let given_up = || StorageError::Statement("nothing was built on the log that was held".to_owned());
        pending.held.send(()).map_err(|()| given_up())?;
        let append = timeout(HOLD_TIMEOUT, pending.append).await.map_err(|_| given_up())?.map_err(|_| given_up())?;
        let mut appends = [&mut **handed_over.insert(append)];
        let writing = append::append_all(tx, &mut appends, Repetitions::LookedUp);
        timeout(TRANSACTION_TIMEOUT, writing).await.map_err(|_| too_slow())??;
        self.commit_and_tell(tx).await
    }
}

async fn begin(tx: &mut Tx) -> Result<(), StorageError> {
    let begun = timeout(CONNECT_TIMEOUT, tx.begin(Some(0))).await;
    begun.unwrap_or_else(|_| Err(no_answer("no answer", CONNECT_TIMEOUT)))
}
