//! What there is to do.

use std::error::Error;

use homeserver_core::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::{JobId, NewJob, StorageError, Tx};

use super::Retry;

/// Which jobs have workers of their own, so that they need not wait for others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Priority {
    /// Somebody waits for it.
    Urgent,
    /// It should be done soon.
    Normal,
    /// It matters to nobody when it is done.
    Background,
}

impl Priority {
    /// All of them, the most important first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Background];

    /// The number it is stored as.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::Urgent => 0,
            Self::Normal => 1,
            Self::Background => 2,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Background => "background",
        }
    }

    /// The priority of a stored number; an unknown number is the lowest priority.
    #[must_use]
    pub fn from_code(code: i64) -> Self {
        Self::ALL.into_iter().find(|priority| priority.code() == code).unwrap_or(Self::Background)
    }
}

/// Work to be done. The type says how, its value what.
///
/// The fields are kept in the database: a later version of the program must be able to read what an earlier one wrote.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// What the work is called, in the database, in metrics, and towards administrators.
    const NAME: &'static str;
    /// Who does it.
    const PRIORITY: Priority = Priority::Normal;
    /// How often it is tried.
    const RETRY: Retry = Retry::DEFAULT;
    /// Whether the work can be dropped at once when the server stops, because beginning again does no harm.
    const IS_INTERRUPTIBLE: bool = false;

    /// What tells this work from other work of the type. While a job waits, no other one of the same key is scheduled; while one
    /// runs, no other one of the same key is begun. Without a key every job is done on its own account.
    fn key(&self) -> Option<String> {
        None
    }

    /// Schedules the work for as soon as possible, if the transaction commits.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    fn schedule(&self, tx: &mut Tx, now: Timestamp) -> impl Future<Output = Result<JobId, StorageError>> {
        self.schedule_at(tx, now, now)
    }

    /// Schedules the work for `due_at`, if the transaction commits. Its age counts from `now`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    fn schedule_at(
        &self,
        tx: &mut Tx,
        now: Timestamp,
        due_at: Timestamp,
    ) -> impl Future<Output = Result<JobId, StorageError>> {
        async move {
            let (payload, key) = (payload(self)?, self.key());
            let (name, priority) = (Self::NAME, Self::PRIORITY.code());
            let job = NewJob { name, priority, key: key.as_deref(), payload: &payload, scheduled_at: now, due_at };
            tx.schedule_job(&job).await
        }
    }
}

pub(super) fn payload<J: Job>(job: &J) -> Result<String, StorageError> {
    serde_json::to_string(job).map_err(|error| StorageError::Statement(format!("a job {}: {error}", J::NAME)))
}

/// Why a job was not done. Any error can be turned into one: the job is then tried again.
#[derive(Debug)]
pub enum JobError {
    /// It may succeed later.
    Retry(String),
    /// It will never succeed.
    GiveUp(String),
    /// The server stops, and the job has stopped, too.
    Interrupted,
}

impl<E: Error> From<E> for JobError {
    fn from(error: E) -> Self {
        let mut chain = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            chain = format!("{chain}: {error}");
            cause = error.source();
        }
        Self::Retry(chain)
    }
}
