//! Looking at jobs.

use homeserver_core::Timestamp;

use super::{JobId, JobState, Progress};
use crate::{Database, Row, StorageError, params};

/// All that is known of a job, but its payload, which may be private.
#[derive(Clone, Debug)]
pub struct JobRecord {
    /// Its number.
    pub job_id: JobId,
    /// What kind of work it is.
    pub name: String,
    /// The lower, the sooner.
    pub priority: i64,
    /// What it is at the moment.
    pub state: JobState,
    /// How often it was begun.
    pub attempts: i64,
    /// When it was scheduled.
    pub scheduled_at: Timestamp,
    /// When it may begin (again).
    pub due_at: Timestamp,
    /// When it was last begun.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How far it is.
    pub progress: Progress,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// The node that began it last.
    pub node: Option<String>,
}

/// Which jobs to list.
#[derive(Clone, Default, Debug)]
pub struct JobFilter {
    /// Those in this state.
    pub state: Option<JobState>,
    /// Those of this name.
    pub name: Option<String>,
    /// Jobs that were scheduled before this one.
    pub before: Option<JobId>,
}

/// Jobs of one name in one state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobCounts {
    /// The name.
    pub name: String,
    /// The state: waiting, running, or given up.
    pub state: JobState,
    /// How many there are.
    pub count: i64,
    /// When the first of them is due.
    pub earliest: Timestamp,
}

fn read_record(row: &Row<'_>) -> Result<JobRecord, StorageError> {
    Ok(JobRecord {
        job_id: row.get(0)?,
        name: row.get(1)?,
        priority: row.get(2)?,
        state: row.get(3)?,
        attempts: row.get(4)?,
        scheduled_at: row.get(5)?,
        due_at: row.get(6)?,
        started_at: row.get(7)?,
        finished_at: row.get(8)?,
        progress: Progress {
            done: row.get::<i64>(9)?.unsigned_abs(),
            total: row.get::<i64>(10)?.unsigned_abs(),
            note: row.get(11)?,
        },
        last_error: row.get(12)?,
        node: row.get(13)?,
    })
}

impl Database {
    /// One job.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn job(&self, job_id: JobId) -> Result<Option<JobRecord>, StorageError> {
        let sql = "SELECT job_id, name, priority, state, attempts, scheduled_at, due_at, started_at, finished_at, \
                   progress_done, progress_total, progress_note, last_error, node FROM jobs WHERE job_id = $1";
        self.query_optional(sql, params![job_id], read_record).await
    }

    /// The last `limit` jobs that the filter lets through, newest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn jobs(&self, filter: &JobFilter, limit: i64) -> Result<Vec<JobRecord>, StorageError> {
        let sql = "SELECT job_id, name, priority, state, attempts, scheduled_at, due_at, started_at, finished_at, \
                   progress_done, progress_total, progress_note, last_error, node FROM jobs WHERE job_id < $1 \
                   AND (CAST($2 AS BIGINT) < 0 OR state = $2) AND (CAST($3 AS TEXT) IS NULL OR name = $3) \
                   ORDER BY job_id DESC LIMIT $4";
        let before = filter.before.map_or(i64::MAX, |job_id| job_id.0);
        let state = filter.state.map_or(-1, JobState::code);
        self.query(sql, params![before, state, &filter.name, limit], read_record).await
    }

    /// How many jobs wait, run, and were given up.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn job_counts(&self) -> Result<Vec<JobCounts>, StorageError> {
        let sql = "SELECT name, state, COUNT(*), MIN(due_at) FROM jobs WHERE state IN (0, 1, 3) GROUP BY name, state \
                   ORDER BY name, state";
        self.query(sql, &[], |row| {
            Ok(JobCounts { name: row.get(0)?, state: row.get(1)?, count: row.get(2)?, earliest: row.get(3)? })
        })
        .await
    }
}
