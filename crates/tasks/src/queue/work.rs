//! Doing one job, and writing down what became of it.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use storage::{ClaimedJob, StorageError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Run;
use super::handlers::JobType;
use super::job::JobError;
use super::jobs::{JobObserver, JobQueue, RunEnd};

/// The pause before the outcome of a job is written again, if that failed.
const WRITE_AGAIN: Duration = Duration::from_millis(500);
/// The longest reason that is kept, in characters.
const MAX_REASON_CHARS: usize = 1_000;

/// What became of a run.
#[derive(Clone)]
enum Outcome {
    Finished,
    Failed(String),
    Hopeless(String),
    Interrupted,
    Lost,
}

impl JobQueue {
    /// Does a job that was claimed.
    #[tracing::instrument(
        name = "job",
        parent = None,
        skip_all,
        fields(otel.name = job_type.name, name = job_type.name, job_id = job.claim.job_id.0, attempt = job.claim.attempt)
    )]
    pub(super) async fn work(&self, job_type: &JobType, job: ClaimedJob, observer: &dyn JobObserver) {
        let job_id = job.claim.job_id;
        let lease = self.leases.begin(job_id).await;
        let began = Instant::now();
        let run = Arc::new(Run::new(self.database.clone(), job.claim.clone(), self.stopping.clone()));
        let outcome = if job.claim.attempt > i64::from(job_type.retry.attempts) {
            // Its last run was begun and never ended: it may be what ends the process.
            let last = job.last_error.as_deref().unwrap_or("the node that ran it has not ended it");
            Outcome::Hopeless(format!("given up after {} attempts: {last}", job.claim.attempt - 1))
        } else {
            self.run_to_end(job_type, &job, &run, &lease.lost).await
        };
        let end = tokio::select! {
            biased;
            end = self.write_outcome(job_type, &job, &run, outcome) => end,
            () = lease.lost.cancelled() => RunEnd::Lost,
        };
        self.leases.end(job_id);
        observer.run_ended(job_type.name, end, began.elapsed());
        self.tell_waiting(job_id);
    }

    async fn run_to_end(
        &self,
        job_type: &JobType,
        job: &ClaimedJob,
        run: &Arc<Run>,
        lost: &CancellationToken,
    ) -> Outcome {
        let interrupted = if job_type.is_interruptible { &self.stopping } else { &self.dropping };
        // In a task of its own, so that a panic is the end of this job and of nothing else.
        let mut running = tokio::spawn(job_type.begin(job.payload.clone(), run.clone()).in_current_span());
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = lost.cancelled() => {
                stop(running).await;
                return Outcome::Lost;
            }
            () = interrupted.cancelled() => {
                stop(running).await;
                return Outcome::Interrupted;
            }
        };
        match ended {
            Ok(Ok(())) => Outcome::Finished,
            Ok(Err(JobError::Retry(reason))) => Outcome::Failed(reason),
            Ok(Err(JobError::GiveUp(reason))) => Outcome::Hopeless(reason),
            Ok(Err(JobError::Interrupted)) => Outcome::Interrupted,
            Err(error) => Outcome::Failed(format!("the job ended unexpectedly: {error}")),
        }
    }

    /// Writes down what became of a run; again and again if that fails, because otherwise it is done a second time.
    async fn write_outcome(&self, job_type: &JobType, job: &ClaimedJob, run: &Run, outcome: Outcome) -> RunEnd {
        loop {
            match self.try_write_outcome(job_type, job, run, &outcome).await {
                Ok(end) => return end,
                Err(error) if self.dropping.is_cancelled() => {
                    tracing::warn!(%error, name = job_type.name, "what became of a job was not stored");
                    return RunEnd::Lost;
                }
                Err(error) => {
                    tracing::debug!(%error, name = job_type.name, "what became of a job was not stored yet");
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        }
    }

    async fn try_write_outcome(
        &self,
        job_type: &JobType,
        job: &ClaimedJob,
        run: &Run,
        outcome: &Outcome,
    ) -> Result<RunEnd, StorageError> {
        let (claim, now) = (job.claim.clone(), self.clock.now());
        let (is_held, end) = match outcome {
            Outcome::Lost => (false, RunEnd::Lost),
            Outcome::Finished => (self.database.finish_job(claim, run.last_progress(), now).await?, RunEnd::Finished),
            Outcome::Interrupted => (self.database.return_job(claim, now).await?, RunEnd::Interrupted),
            Outcome::Hopeless(reason) => (self.give_up(job_type, job, reason).await?, RunEnd::GivenUp),
            Outcome::Failed(reason) => {
                let luck = rand::rng().random_range(0.0..1.0);
                match job_type.retry.next(claim.attempt, job.scheduled_at, now, luck) {
                    Ok(due_at) => {
                        let (name, job_id) = (job_type.name, claim.job_id.0);
                        tracing::warn!(
                            name,
                            job_id,
                            attempt = claim.attempt,
                            reason,
                            "a job failed; it is tried again"
                        );
                        (self.database.retry_job(claim, due_at, bounded(reason), now).await?, RunEnd::Retried)
                    }
                    Err(end) => (self.give_up(job_type, job, &format!("{end}: {reason}")).await?, RunEnd::GivenUp),
                }
            }
        };
        Ok(if is_held { end } else { RunEnd::Lost })
    }

    async fn give_up(&self, job_type: &JobType, job: &ClaimedJob, reason: &str) -> Result<bool, StorageError> {
        let (name, job_id) = (job_type.name, job.claim.job_id.0);
        tracing::error!(name, job_id, reason, "a job was given up");
        self.database.give_up_job(job.claim.clone(), bounded(reason), self.clock.now()).await
    }
}

/// Drops what is running, and waits until it is dropped.
async fn stop<T>(running: tokio::task::JoinHandle<T>) {
    running.abort();
    // It was cancelled, or has just ended: either way it does nothing any more.
    drop(running.await);
}

fn bounded(reason: &str) -> String {
    reason.chars().take(MAX_REASON_CHARS).collect()
}
