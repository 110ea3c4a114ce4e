//! Whose sessions, password or rights were changed, for other processes that remember them.

use homeserver_core::{Position, Timestamp, UserSn};

use crate::tokens::TokenHash;
use crate::{Database, StorageError, Tx, params};

impl Database {
    /// The position of the last change of an account, or the start of the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn last_account_change(&self) -> Result<Position, StorageError> {
        let sql = "SELECT COALESCE(MAX(position), 0) FROM account_changes";
        Ok(self.query_optional(sql, &[], |row| row.get(0)).await?.unwrap_or(Position::START))
    }

    /// The first `limit` changes of accounts after `after`, by this process and by others, in the order of the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account_changes(&self, after: Position, limit: i64) -> Result<Vec<(Position, UserSn)>, StorageError> {
        let sql = "SELECT position, user_sn FROM account_changes WHERE position > $1 ORDER BY position LIMIT $2";
        self.query(sql, params![after, limit], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// Those of `hashes` that are of access tokens.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn existing_access_tokens(&self, hashes: &[TokenHash]) -> Result<Vec<TokenHash>, StorageError> {
        let hashes: Vec<&[u8]> = hashes.iter().map(TokenHash::as_slice).collect();
        let sql = "SELECT token_hash FROM access_tokens WHERE token_hash IN BLOBS($1)";
        self.query(sql, params![&hashes], crate::tokens::read_hash).await
    }

    /// Removes the oldest changes that were made before `changed_before`, which every process has seen by now.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_old_account_changes(&self, changed_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT position, changed_at FROM account_changes ORDER BY position LIMIT $1";
        let read = |row: &crate::Row<'_>| Ok((row.get::<i64>(0)?, row.get::<Timestamp>(1)?));
        let found = self.query(find, params![limit], read).await?;
        let old: Vec<i64> =
            found.into_iter().take_while(|(_, at)| *at < changed_before).map(|(position, _)| position).collect();
        if old.is_empty() {
            return Ok(0);
        }
        let sql = "DELETE FROM account_changes WHERE position IN LIST($1)";
        self.write(async move |tx| tx.execute(sql, params![&old]).await).await
    }
}

impl Tx {
    /// Tells other processes that what they remember of a user's sessions may be out of date.
    ///
    /// Called first in a transaction: the log is locked before the rows of an account, on every node.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn note_account_change(&mut self, user_sn: UserSn, now: Timestamp) -> Result<(), StorageError> {
        let position = self.next_position().await?;
        let sql = "INSERT INTO account_changes (position, user_sn, changed_at) VALUES ($1, $2, $3)";
        self.execute(sql, params![position, user_sn, now]).await.map(drop)
    }
}
