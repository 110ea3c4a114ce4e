//! Filters that users have stored.

use homeserver_core::UserSn;

use crate::{Database, StorageError, params};

impl Database {
    /// The filter that a user has stored under a number, as JSON.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn filter(&self, user_sn: UserSn, filter_number: i64) -> Result<Option<String>, StorageError> {
        let sql = "SELECT content FROM filters WHERE user_sn = $1 AND filter_number = $2";
        self.query_optional(sql, params![user_sn, filter_number], |row| row.get(0)).await
    }

    /// Stores a filter, or finds the equal one of the same user. `None` if the user has `most` filters already.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn store_filter(
        &self,
        user_sn: UserSn,
        content_hash: [u8; 32],
        content: String,
        most: i64,
    ) -> Result<Option<i64>, StorageError> {
        let find = "SELECT filter_number FROM filters WHERE user_sn = $1 AND content_hash = $2";
        let last = "SELECT COALESCE(MAX(filter_number), 0) FROM filters WHERE user_sn = $1";
        let insert = "INSERT INTO filters (user_sn, filter_number, content_hash, content) VALUES ($1, $2, $3, $4)";
        let found = self.query_optional(find, params![user_sn, content_hash.as_slice()], |row| row.get(0)).await?;
        if found.is_some() {
            return Ok(found);
        }
        self.write(async move |tx| {
            tx.lock_account(user_sn).await?;
            let hash = content_hash.as_slice();
            if let Some(found) = tx.query_optional(find, params![user_sn, hash], |row| row.get(0)).await? {
                return Ok(Some(found));
            }
            let number = tx.query_optional(last, params![user_sn], |row| row.get::<i64>(0)).await?.unwrap_or(0) + 1;
            if number > most {
                return Ok(None);
            }
            tx.execute(insert, params![user_sn, number, hash, &content]).await?;
            Ok(Some(number))
        })
        .await
    }
}
