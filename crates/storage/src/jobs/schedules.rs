//! When what is done again and again is to be done next.

use homeserver_core::Timestamp;

use crate::{Database, StorageError, Tx, params};

impl Database {
    /// When each of these is next to be done.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn job_schedules(&self) -> Result<Vec<(String, Timestamp)>, StorageError> {
        self.query("SELECT name, next_at FROM job_schedules", &[], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// Makes a schedule known. One that was known by the same plan keeps its time.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn store_job_schedule(
        &self,
        name: &'static str,
        plan: String,
        next_at: Timestamp,
    ) -> Result<(), StorageError> {
        let sql = "INSERT INTO job_schedules (name, plan, next_at) VALUES ($1, $2, $3) ON CONFLICT (name) \
                   DO UPDATE SET plan = excluded.plan, next_at = excluded.next_at WHERE job_schedules.plan <> excluded.plan";
        self.write(async move |tx| tx.execute(sql, params![name, &plan, next_at]).await.map(drop)).await
    }
}

impl Tx {
    /// Moves a schedule on from one time to the next. Returns whether it was this caller who did, so that what is due is
    /// scheduled once.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn advance_job_schedule(
        &mut self,
        name: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<bool, StorageError> {
        let sql = "UPDATE job_schedules SET next_at = $3 WHERE name = $1 AND next_at = $2";
        Ok(self.execute(sql, params![name, from, to]).await? > 0)
    }
}
