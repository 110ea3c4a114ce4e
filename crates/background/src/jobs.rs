//! Showing and changing jobs, for administrators.

use std::sync::Arc;

use homeserver_core::{Clock, Timestamp};
use storage::{Database, JobFilter, JobId, JobRecord, JobState, StorageError};

/// The most jobs on a page.
const MAX_LISTED: u32 = 500;

/// The reason why a request about jobs failed.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// There is no such job.
    #[error("There is no job of this number; jobs that ended long ago are removed")]
    NoSuchJob,
    /// Only a job that was given up can be tried again.
    #[error("Only a job that was given up can be tried again; this one is {0}")]
    NotGivenUp(&'static str),
    /// Only a waiting job can be cancelled.
    #[error("Only a job that waits can be cancelled; this one is {0}")]
    NotWaiting(&'static str),
    /// A newer job does the same work.
    #[error("A newer job for the same work waits already")]
    AlreadyWaiting,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A page of jobs, newest first.
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// The start of the next page, which has older jobs; `None` if there is none.
    pub next: Option<JobId>,
}

/// The jobs of all nodes.
pub struct BackgroundJobs {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl BackgroundJobs {
    /// The jobs in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    /// The time from which the age of jobs is computed.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The jobs that pass the filter, at most `limit`, and never more than 500.
    pub async fn list(&self, filter: &JobFilter, limit: u32) -> Result<JobPage, JobsError> {
        let limit = limit.clamp(1, MAX_LISTED) as usize;
        // One job more than the page shows whether there is a next page.
        let mut jobs = self.database.jobs(filter, i64::try_from(limit).unwrap_or(i64::MAX) + 1).await?;
        let has_more = jobs.len() > limit;
        jobs.truncate(limit);
        let next = jobs.last().filter(|_| has_more).map(|job| job.job_id);
        Ok(JobPage { jobs, next })
    }

    /// One job.
    ///
    /// # Errors
    /// [`JobsError::NoSuchJob`].
    pub async fn job(&self, job_id: JobId) -> Result<JobRecord, JobsError> {
        self.database.job(job_id).await?.ok_or(JobsError::NoSuchJob)
    }

    /// Tries a job again that was given up.
    ///
    /// # Errors
    /// [`JobsError::NoSuchJob`], [`JobsError::NotGivenUp`], [`JobsError::AlreadyWaiting`].
    pub async fn retry(&self, job_id: JobId) -> Result<JobRecord, JobsError> {
        match self.database.revive_job(job_id, self.clock.now()).await {
            Ok(true) => self.job(job_id).await,
            Ok(false) => Err(JobsError::NotGivenUp(self.job(job_id).await?.state.as_str())),
            Err(StorageError::Constraint(_)) => Err(JobsError::AlreadyWaiting),
            Err(error) => Err(error.into()),
        }
    }

    /// Cancels a waiting job.
    ///
    /// # Errors
    /// [`JobsError::NoSuchJob`], [`JobsError::NotWaiting`].
    pub async fn cancel(&self, job_id: JobId) -> Result<JobRecord, JobsError> {
        if self.database.cancel_job(job_id, self.clock.now()).await? {
            return self.job(job_id).await;
        }
        Err(JobsError::NotWaiting(self.job(job_id).await?.state.as_str()))
    }

    /// The state of this name.
    #[must_use]
    pub fn state(word: &str) -> Option<JobState> {
        JobState::from_word(word)
    }
}
