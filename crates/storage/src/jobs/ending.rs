//! How runs of jobs end.

use homeserver_core::Timestamp;

use super::{Claim, JobId, Progress};
use crate::{Database, StorageError, Tx, params};

/// A second job of the same key that waits does the work of one that would wait again: that one is cancelled instead.
const TWIN: &str = "SELECT 1 FROM jobs j JOIN jobs w ON w.name = j.name AND w.job_key = j.job_key AND w.state = 0 \
                    WHERE j.job_id = $1";

impl Database {
    /// Writes down how far a job is. Returns whether it is still this node's.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_job_progress(&self, claim: Claim, progress: Progress) -> Result<bool, StorageError> {
        self.write(async move |tx| tx.set_job_progress(&claim, &progress).await).await
    }

    /// The job is done. Returns whether it was still this node's.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn finish_job(&self, claim: Claim, progress: Progress, now: Timestamp) -> Result<bool, StorageError> {
        let sql = "UPDATE jobs SET state = 2, finished_at = $4, lease_until = NULL, last_error = NULL \
                   WHERE job_id = $1 AND state = 1 AND node = $2 AND attempts = $3";
        self.write(async move |tx| {
            tx.set_job_progress(&claim, &progress).await?;
            Ok(tx.execute(sql, params![claim.job_id, &claim.node, claim.attempt, now]).await? > 0)
        })
        .await
    }

    /// The job is not to be tried again. Returns whether it was still this node's.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn give_up_job(&self, claim: Claim, reason: String, now: Timestamp) -> Result<bool, StorageError> {
        let sql = "UPDATE jobs SET state = 3, finished_at = $4, lease_until = NULL, last_error = $5 \
                   WHERE job_id = $1 AND state = 1 AND node = $2 AND attempts = $3";
        let write = async move |tx: &mut Tx| {
            Ok(tx.execute(sql, params![claim.job_id, &claim.node, claim.attempt, now, &reason]).await? > 0)
        };
        self.write(write).await
    }

    /// The job failed and is to be tried again at `due_at`. Returns whether it was still this node's.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn retry_job(
        &self,
        claim: Claim,
        due_at: Timestamp,
        reason: String,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        self.write(async move |tx| {
            let sql = "UPDATE jobs SET state = 0, due_at = $4, lease_until = NULL, last_error = $5 \
                       WHERE job_id = $1 AND state = 1 AND node = $2 AND attempts = $3";
            if tx.gives_way(&claim, now).await? {
                return Ok(true);
            }
            Ok(tx.execute(sql, params![claim.job_id, &claim.node, claim.attempt, due_at, &reason]).await? > 0)
        })
        .await
    }

    /// The job was interrupted through no fault of its own: it waits again, as if it had not been begun. Returns whether it was
    /// still this node's.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn return_job(&self, claim: Claim, now: Timestamp) -> Result<bool, StorageError> {
        self.write(async move |tx| {
            let sql = "UPDATE jobs SET state = 0, due_at = $4, lease_until = NULL, attempts = attempts - 1 \
                       WHERE job_id = $1 AND state = 1 AND node = $2 AND attempts = $3";
            if tx.gives_way(&claim, now).await? {
                return Ok(true);
            }
            Ok(tx.execute(sql, params![claim.job_id, &claim.node, claim.attempt, now]).await? > 0)
        })
        .await
    }

    /// Has a job that was given up tried again, as if it were new. Returns whether there was one.
    ///
    /// # Errors
    /// [`StorageError::Constraint`] if another job of the same key waits, or if the transaction does not commit.
    pub async fn revive_job(&self, job_id: JobId, now: Timestamp) -> Result<bool, StorageError> {
        let sql = "UPDATE jobs SET state = 0, attempts = 0, scheduled_at = $2, due_at = $2, finished_at = NULL \
                   WHERE job_id = $1 AND state = 3";
        self.write(async move |tx| {
            tx.note_scheduled_job();
            Ok(tx.execute(sql, params![job_id, now]).await? > 0)
        })
        .await
    }

    /// Cancels a job that waits. Returns whether there was one.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn cancel_job(&self, job_id: JobId, now: Timestamp) -> Result<bool, StorageError> {
        let sql = "UPDATE jobs SET state = 4, finished_at = $2 WHERE job_id = $1 AND state = 0";
        self.write(async move |tx| Ok(tx.execute(sql, params![job_id, now]).await? > 0)).await
    }

    /// Removes up to `limit` jobs that ended long ago: given up before `given_up_before`, or otherwise ended before
    /// `finished_before`. Returns how many.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_ended_jobs(
        &self,
        finished_before: Timestamp,
        given_up_before: Timestamp,
        limit: i64,
    ) -> Result<u64, StorageError> {
        let find = "SELECT job_id FROM jobs WHERE finished_at IS NOT NULL AND finished_at < $1 \
                    AND (state <> 3 OR finished_at < $2) ORDER BY finished_at LIMIT $3";
        // Not in the transaction: a job that ended so long ago is only ever removed or revived.
        let found: Vec<i64> =
            self.query(find, params![finished_before, given_up_before, limit], |row| row.get(0)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let sql = "DELETE FROM jobs WHERE job_id IN LIST($1) AND finished_at IS NOT NULL";
        self.write(async move |tx| tx.execute(sql, params![&found]).await).await
    }
}

impl Tx {
    async fn set_job_progress(&mut self, claim: &Claim, progress: &Progress) -> Result<bool, StorageError> {
        let sql = "UPDATE jobs SET progress_done = $4, progress_total = $5, progress_note = $6 \
                   WHERE job_id = $1 AND state = 1 AND node = $2 AND attempts = $3";
        let (done, total) = (progress.done_code(), progress.total_code());
        let values = params![claim.job_id, &claim.node, claim.attempt, done, total, &progress.note];
        Ok(self.execute(sql, values).await? > 0)
    }

    /// Cancels a job that is to wait again if another one of the same key waits already.
    async fn gives_way(&mut self, claim: &Claim, now: Timestamp) -> Result<bool, StorageError> {
        if self.query_optional(TWIN, params![claim.job_id], |_| Ok(())).await?.is_none() {
            return Ok(false);
        }
        let sql = "UPDATE jobs SET state = 4, finished_at = $4, lease_until = NULL, last_error = $5 \
                   WHERE job_id = $1 AND state = 1 AND node = $2 AND attempts = $3";
        let reason = "A newer job of the same key does its work";
        Ok(self.execute(sql, params![claim.job_id, &claim.node, claim.attempt, now, reason]).await? > 0)
    }
}
