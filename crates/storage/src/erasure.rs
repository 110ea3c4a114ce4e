//! Users who asked for their content to be erased.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>

use std::sync::Arc;

use homeserver_core::UserSn;

use crate::{Database, LogEntry, MediaKey, Row, StorageError, Tx, params};

/// What is deleted with a user's content: everything that the user has set, and that is not part of a room.
const DELETIONS: [&str; 6] = [
    "DELETE FROM profile_fields WHERE user_sn = $1",
    "DELETE FROM account_data WHERE user_sn = $1",
    "DELETE FROM filters WHERE user_sn = $1",
    "DELETE FROM push_rules WHERE user_sn = $1",
    "DELETE FROM fully_read WHERE user_sn = $1",
    "DELETE FROM receipts WHERE user_sn = $1 AND room_sn IN (SELECT room_sn FROM memberships WHERE user_sn = $1)",
];

impl Tx {
    /// Deletes what a user has set. Who joins the user's rooms from now on sees the user's events redacted.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub(crate) async fn erase_user(&mut self, user_sn: UserSn) -> Result<(), StorageError> {
        for sql in DELETIONS {
            self.execute(sql, params![user_sn]).await?;
        }
        let position = self.next_position().await?;
        let sql = "INSERT INTO erased_users (user_sn, position) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.execute(sql, params![user_sn, position]).await.map(drop)
    }
}

impl Database {
    /// Forgets what a user has called up to `limit` uploads, and returns which these are.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn forget_names_of_media(&self, user_sn: UserSn, limit: i64) -> Result<Vec<MediaKey>, StorageError> {
        let find = "SELECT server_name, media_id FROM media WHERE user_sn = $1 AND file_name IS NOT NULL LIMIT $2";
        let read = |row: &Row<'_>| Ok(MediaKey { server_name: row.get(0)?, media_id: row.get(1)? });
        let found = self.query(find, params![user_sn, limit], read).await?;
        if found.is_empty() {
            return Ok(found);
        }
        let media_ids: Vec<String> = found.iter().map(|key| key.media_id.clone()).collect();
        // Only uploads have a user, so these are of one server.
        let sql = "UPDATE media SET file_name = NULL WHERE user_sn = $1 AND media_id IN LIST($2)";
        let media: Arc<[MediaKey]> = found.iter().cloned().collect();
        self.write(async move |tx| {
            let position = tx.next_position().await?;
            tx.execute(sql, params![user_sn, &media_ids]).await?;
            tx.publish(LogEntry::Media { position, media: media.clone() });
            Ok(())
        })
        .await?;
        Ok(found)
    }
}
