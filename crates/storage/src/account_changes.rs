//! Whose sessions, password or rights were changed, for other processes that remember them.

use homeserver_core::UserSn;

use crate::tokens::TokenHash;
use crate::{Database, LogEntry, StorageError, Tx, params};

impl Database {
    /// Those of `hashes` that are of access tokens.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn existing_access_tokens(&self, hashes: &[TokenHash]) -> Result<Vec<TokenHash>, StorageError> {
        let hashes: Vec<&[u8]> = hashes.iter().map(TokenHash::as_slice).collect();
        let sql = "SELECT token_hash FROM access_tokens WHERE token_hash IN BLOBS($1)";
        self.query(sql, params![&hashes], crate::tokens::read_hash).await
    }
}

impl Tx {
    /// Tells all processes that what they remember of a user's sessions may be out of date.
    ///
    /// Called first in a transaction: the log is locked before the rows of an account, on every node.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn note_account_change(&mut self, user_sn: UserSn) -> Result<(), StorageError> {
        let position = self.next_position().await?;
        self.publish(LogEntry::Account { position, user_sn, has_ended: true });
        Ok(())
    }

    /// As [`Tx::note_account_change`], where the sessions go on with other tokens.
    pub(crate) async fn note_new_tokens(&mut self, user_sn: UserSn) -> Result<(), StorageError> {
        let position = self.next_position().await?;
        self.publish(LogEntry::Account { position, user_sn, has_ended: false });
        Ok(())
    }
}
