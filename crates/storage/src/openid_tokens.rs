//! Tokens by which users show other services who they are.

use homeserver_core::{Timestamp, UserSn};

use crate::tokens::TokenHash;
use crate::{Database, StorageError, params};

impl Database {
    /// Stores a token of a user, of whose tokens the `most` that expire last are kept.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn insert_openid_token(
        &self,
        token_hash: TokenHash,
        user_sn: UserSn,
        expires_at: Timestamp,
        most: i64,
    ) -> Result<(), StorageError> {
        let sql = "INSERT INTO openid_tokens (token_hash, user_sn, expires_at) VALUES ($1, $2, $3)";
        let excess = "DELETE FROM openid_tokens WHERE token_hash IN (SELECT token_hash FROM openid_tokens \
                      WHERE user_sn = $1 ORDER BY expires_at DESC LIMIT 1000 OFFSET $2)";
        let insert = async move |tx: &mut crate::Tx| {
            tx.execute(sql, params![token_hash.as_slice(), user_sn, expires_at]).await?;
            tx.execute(excess, params![user_sn, most]).await.map(drop)
        };
        self.write(insert).await
    }

    /// The ID of the user who was given a token, if it has not expired and the account is not deactivated.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn openid_token_user(
        &self,
        token_hash: TokenHash,
        now: Timestamp,
    ) -> Result<Option<String>, StorageError> {
        let sql = "SELECT u.user_id FROM openid_tokens t JOIN users u ON u.user_sn = t.user_sn \
                   JOIN accounts a ON a.user_sn = t.user_sn \
                   WHERE t.token_hash = $1 AND t.expires_at > $2 AND a.deactivated_at IS NULL";
        self.query_optional(sql, params![token_hash.as_slice(), now], |row| row.get(0)).await
    }

    /// Removes tokens that have expired.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_expired_openid_tokens(&self, now: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT token_hash FROM openid_tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2";
        let found: Vec<Vec<u8>> = self.query(find, params![now, limit], |row| row.get(0)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let sql = "DELETE FROM openid_tokens WHERE token_hash IN BLOBS($1)";
        let delete = async move |tx: &mut crate::Tx| {
            let expired: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
            tx.execute(sql, params![&expired]).await
        };
        self.write(delete).await
    }
}
