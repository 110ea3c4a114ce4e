//! Removing what every process has read by now.

use homeserver_core::Timestamp;

use crate::{Database, StorageError, params};

impl Database {
    /// Removes the oldest rows of the log that were written before `written_before`, which every process has read by now.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_old_log_entries(&self, written_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT position, written_at FROM log_entries ORDER BY position LIMIT $1";
        let read = |row: &crate::Row<'_>| Ok((row.get::<i64>(0)?, row.get::<Timestamp>(1)?));
        let found = self.query(find, params![limit], read).await?;
        let old = found.into_iter().take_while(|(_, at)| *at < written_before).map(|(position, _)| position);
        let Some(last) = old.last() else { return Ok(0) };
        let sql = "DELETE FROM log_entries WHERE position <= $1";
        self.write(async move |tx| tx.execute(sql, params![last]).await).await
    }
}
