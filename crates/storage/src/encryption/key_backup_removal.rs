//! Deleting versions of backups: at once for clients, and what is in them a little at a time.

use homeserver_core::UserSn;

use crate::{Database, Row, StorageError, params};

impl Database {
    /// Deletes a version; what is in it is removed with [`Database::remove_sessions_of_deleted_backup`]. Tells whether there was such a
    /// version; its number is not used again.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn delete_key_backup(&self, user_sn: UserSn, version: i64) -> Result<bool, StorageError> {
        let mark = "UPDATE key_backups SET is_deleted = TRUE, sessions = 0 \
                    WHERE user_sn = $1 AND version = $2 AND is_deleted = FALSE";
        self.write(async move |tx| {
            tx.hold_log().await?;
            Ok(tx.execute(mark, params![user_sn, version]).await? > 0)
        })
        .await
    }

    /// Removes up to `limit` sessions of a version that was deleted. Tells how many.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_sessions_of_deleted_backup(
        &self,
        user_sn: UserSn,
        version: i64,
        limit: i64,
    ) -> Result<u64, StorageError> {
        let sql = "DELETE FROM key_backup_sessions WHERE (user_sn, version, room_id, session_id) IN \
                   (SELECT s.user_sn, s.version, s.room_id, s.session_id FROM key_backups b JOIN key_backup_sessions s \
                   ON s.user_sn = b.user_sn AND s.version = b.version \
                   WHERE b.user_sn = $1 AND b.version = $2 AND b.is_deleted = TRUE LIMIT $3)";
        self.write(async move |tx| tx.execute(sql, params![user_sn, version, limit]).await).await
    }

    /// Of the next `limit` versions behind `after`, those that were deleted and of which there are still sessions, because the server ended
    /// before it had removed them; and the last version looked at.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn unfinished_backup_deletions(
        &self,
        after: (UserSn, i64),
        limit: i64,
    ) -> Result<(Vec<(UserSn, i64)>, Option<(UserSn, i64)>), StorageError> {
        let sql = "SELECT b.user_sn, b.version, CASE WHEN b.is_deleted = TRUE AND EXISTS (SELECT 1 \
                   FROM key_backup_sessions s WHERE s.user_sn = b.user_sn AND s.version = b.version) \
                   THEN TRUE ELSE FALSE END FROM key_backups b WHERE (b.user_sn, b.version) > ($1, $2) \
                   ORDER BY b.user_sn, b.version LIMIT $3";
        let read = |row: &Row<'_>| Ok((row.get::<UserSn>(0)?, row.get::<i64>(1)?, row.get::<bool>(2)?));
        let found = self.query(sql, params![after.0, after.1, limit], read).await?;
        let last = found.last().map(|(user_sn, version, _)| (*user_sn, *version));
        let unfinished = found.into_iter().filter(|(.., is_unfinished)| *is_unfinished);
        Ok((unfinished.map(|(user_sn, version, _)| (user_sn, version)).collect(), last))
    }
}
