//! A job that is being done, as its handler sees it.

use std::time::Duration;

use parking_lot::Mutex;
use storage::{Claim, Database, JobId, Progress};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Progress is stored no more often than this; what comes in between is stored at the end.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// A job that is being done.
pub struct Run {
    database: Database,
    claim: Claim,
    stopping: CancellationToken,
    /// How far the job is, and when that was last stored, or the job begun.
    progress: Mutex<(Progress, Instant)>,
}

impl Run {
    pub(super) fn new(database: Database, claim: Claim, stopping: CancellationToken) -> Self {
        // The progress of a quick job is stored with its end, so that it costs no extra write.
        let progress = Mutex::new((Progress::default(), Instant::now()));
        Self { database, claim, stopping, progress }
    }

    /// The number of the job.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        self.claim.job_id
    }

    /// How often the job was begun, this time included.
    #[must_use]
    pub fn attempt(&self) -> i64 {
        self.claim.attempt
    }

    /// Whether the server is about to stop: a long job should come to an end soon, with
    /// [`JobError::Interrupted`](super::JobError::Interrupted) if it is not done.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Reports progress: how many of `total` are done (0 if the total is unknown), and a sentence for an administrator.
    pub async fn progress(&self, done: u64, total: u64, note: impl Into<String>) {
        let progress = Progress { done, total, note: Some(note.into()) };
        {
            let mut kept = self.progress.lock();
            kept.0 = progress.clone();
            if kept.1.elapsed() < STORE_EVERY {
                return;
            }
            kept.1 = Instant::now();
        }
        if let Err(error) = self.database.set_job_progress(self.claim.clone(), progress).await {
            tracing::debug!(%error, job_id = self.claim.job_id.0, "the progress of a job was not stored");
        }
    }

    pub(super) fn last_progress(&self) -> Progress {
        self.progress.lock().0.clone()
    }
}
