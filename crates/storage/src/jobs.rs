//! Jobs: work that outlives the process, shared by all nodes.
//!
//! What the rows mean is the queue's to say; here they are only moved from one state to the next. Every change of a running
//! job names the [`Claim`] under which it runs: a node that has lost its lease without noticing changes nothing any more.

mod ending;
mod listing;
mod schedules;
mod states;

use homeserver_core::Timestamp;

pub use self::listing::{JobCounts, JobFilter, JobRecord};
pub use self::states::{JobId, JobState, Progress};
use crate::{Database, StorageError, Tx, params};

/// A job to be done.
#[derive(Clone, Copy, Debug)]
pub struct NewJob<'a> {
    /// What kind of work it is.
    pub name: &'a str,
    /// The lower, the sooner.
    pub priority: i64,
    /// Jobs of the same name and key are the same work: at most one of them waits, and at most one runs.
    pub key: Option<&'a str>,
    /// What the work needs to know.
    pub payload: &'a str,
    /// When it is scheduled.
    pub scheduled_at: Timestamp,
    /// When it may begin.
    pub due_at: Timestamp,
}

/// The right to run a job, until its lease runs out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Which job.
    pub job_id: JobId,
    /// Whose right it is.
    pub node: String,
    /// How often the job was begun, this time included.
    pub attempt: i64,
}

/// A job that this node is to run.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// The right to run it.
    pub claim: Claim,
    /// What kind of work it is.
    pub name: String,
    /// What the work needs to know.
    pub payload: String,
    /// When it was scheduled.
    pub scheduled_at: Timestamp,
    /// What went wrong the last time.
    pub last_error: Option<String>,
}

/// Which jobs a node wants, and on what terms.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of these names.
    pub names: Vec<String>,
    /// Of this priority.
    pub priority: i64,
    /// So many of them at most.
    pub limit: i64,
    /// For this node.
    pub node: String,
    /// The time now.
    pub now: Timestamp,
    /// Until when the lease is.
    pub lease_until: Timestamp,
}

const NEXT: &str = "SELECT MIN(at) FROM (SELECT at FROM (SELECT j.due_at AS at FROM jobs j \
                    WHERE j.state = 0 AND j.priority = $1 AND j.name IN LIST($2) AND NOT EXISTS \
                    (SELECT 1 FROM jobs r WHERE r.state = 1 AND r.name = j.name AND r.job_key = j.job_key) \
                    ORDER BY j.priority, j.due_at LIMIT 1) AS waiting \
                    UNION ALL SELECT MIN(lease_until) AS at FROM jobs \
                    WHERE state = 1 AND priority = $1 AND name IN LIST($2)) AS times";
/// What others began and do not go on with.
const CLAIM_ABANDONED: &str = "WITH due AS MATERIALIZED (SELECT job_id FROM jobs \
                               WHERE state = 1 AND priority = $1 AND name IN LIST($2) AND lease_until <= $3 \
                               ORDER BY lease_until LIMIT $4 SKIP_LOCKED) \
                               UPDATE jobs SET attempts = attempts + 1, started_at = $3, lease_until = $5, node = $6 \
                               WHERE job_id IN (SELECT job_id FROM due) \
                               RETURNING job_id, attempts, name, payload, scheduled_at, last_error";
const CLAIM_WAITING: &str = "WITH due AS MATERIALIZED (SELECT j.job_id FROM jobs j \
                             WHERE j.state = 0 AND j.priority = $1 AND j.name IN LIST($2) AND j.due_at <= $3 AND NOT EXISTS \
                             (SELECT 1 FROM jobs r WHERE r.state = 1 AND r.name = j.name AND r.job_key = j.job_key) \
                             ORDER BY j.priority, j.due_at LIMIT $4 SKIP_LOCKED) \
                             UPDATE jobs SET state = 1, attempts = attempts + 1, started_at = $3, lease_until = $5, node = $6 \
                             WHERE job_id IN (SELECT job_id FROM due) \
                             RETURNING job_id, attempts, name, payload, scheduled_at, last_error";

impl Tx {
    /// Schedules a job: it exists if, and only if, this transaction commits. If one of the same name and key waits already,
    /// that one stays, and is due no later than this one would be. Returns the job that waits now.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn schedule_job(&mut self, job: &NewJob<'_>) -> Result<JobId, StorageError> {
        let sql = "INSERT INTO jobs (name, priority, job_key, payload, state, attempts, scheduled_at, due_at) \
                   VALUES ($1, $2, $3, $4, 0, 0, $5, $6) \
                   ON CONFLICT (name, job_key) WHERE state = 0 AND job_key IS NOT NULL DO UPDATE SET due_at = \
                   CASE WHEN excluded.due_at < jobs.due_at THEN excluded.due_at ELSE jobs.due_at END RETURNING job_id";
        let values = params![job.name, job.priority, job.key, job.payload, job.scheduled_at, job.due_at];
        let job_id = self.query_optional(sql, values, |row| row.get(0)).await?;
        self.note_scheduled_job();
        job_id.ok_or_else(|| StorageError::Statement(format!("a job {} was not stored", job.name)))
    }
}

impl Database {
    /// When there is next something to do among the jobs of these names and of this priority; in the past if it is due.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn next_job_at(&self, names: &[String], priority: i64) -> Result<Option<Timestamp>, StorageError> {
        Ok(self.query_optional(NEXT, params![priority, names], |row| row.get(0)).await?.flatten())
    }

    /// Takes jobs that are due, and jobs whose leases have run out. No other node gets them as well.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn claim_jobs(&self, wanted: Wanted) -> Result<Vec<ClaimedJob>, StorageError> {
        self.write(async move |tx| {
            let mut claimed = tx.claim_jobs(CLAIM_ABANDONED, &wanted, wanted.limit).await?;
            let left = wanted.limit - i64::try_from(claimed.len()).unwrap_or(wanted.limit);
            if left > 0 {
                claimed.extend(tx.claim_jobs(CLAIM_WAITING, &wanted, left).await?);
            }
            Ok(claimed)
        })
        .await
    }

    /// Holds on to running jobs until `lease_until`. Returns the jobs that are still this node's.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn renew_job_leases(
        &self,
        node: String,
        jobs: Vec<i64>,
        lease_until: Timestamp,
    ) -> Result<Vec<JobId>, StorageError> {
        let sql =
            "UPDATE jobs SET lease_until = $3 WHERE job_id IN LIST($1) AND state = 1 AND node = $2 RETURNING job_id";
        self.write(async move |tx| tx.query(sql, params![&jobs, &node, lease_until], |row| row.get(0)).await).await
    }
}

impl Tx {
    async fn claim_jobs(
        &mut self,
        sql: &'static str,
        wanted: &Wanted,
        limit: i64,
    ) -> Result<Vec<ClaimedJob>, StorageError> {
        let Wanted { names, priority, node, now, lease_until, .. } = wanted;
        let values = params![*priority, names, *now, limit, *lease_until, node];
        self.query(sql, values, |row| {
            Ok(ClaimedJob {
                claim: Claim { job_id: row.get(0)?, attempt: row.get(1)?, node: node.clone() },
                name: row.get(2)?,
                payload: row.get(3)?,
                scheduled_at: row.get(4)?,
                last_error: row.get(5)?,
            })
        })
        .await
    }
}
