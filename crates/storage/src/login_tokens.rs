//! Tokens by which users log in another device, each once and soon.

use homeserver_core::{Timestamp, UserSn};

use crate::tokens::TokenHash;
use crate::{Database, StorageError, Tx, UiaOutcome, params};

impl Database {
    /// Stores a token of a user, of whose tokens the `most` that expire last are kept. `authorised_in` is the session of user-interactive
    /// authentication in which that was authorised, if it is stored. `false` if it was used for another token.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn insert_login_token(
        &self,
        token_hash: TokenHash,
        user_sn: UserSn,
        expires_at: Timestamp,
        most: i64,
        authorised_in: Option<UiaOutcome>,
    ) -> Result<bool, StorageError> {
        let sql = "INSERT INTO login_tokens (token_hash, user_sn, expires_at) VALUES ($1, $2, $3)";
        let excess = "DELETE FROM login_tokens WHERE token_hash IN (SELECT token_hash FROM login_tokens \
                      WHERE user_sn = $1 ORDER BY expires_at DESC LIMIT 1000 OFFSET $2)";
        self.write(async move |tx| {
            if let Some(done) = &authorised_in
                && !tx.finish_uia_session(done).await?
            {
                return Ok(false);
            }
            tx.execute(sql, params![token_hash.as_slice(), user_sn, expires_at]).await?;
            tx.execute(excess, params![user_sn, most]).await?;
            Ok(true)
        })
        .await
    }

    /// Removes tokens that have expired.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_expired_login_tokens(&self, now: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT token_hash FROM login_tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2";
        let found: Vec<Vec<u8>> = self.query(find, params![now, limit], |row| row.get(0)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let sql = "DELETE FROM login_tokens WHERE token_hash IN BLOBS($1)";
        let delete = async move |tx: &mut Tx| {
            let expired: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
            tx.execute(sql, params![&expired]).await
        };
        self.write(delete).await
    }
}

impl Tx {
    /// Uses up a token. Returns whose it was; `None` if it had expired, was used before, or never was, or the account is closed. The
    /// account stays as it is until the commit.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn take_login_token(
        &mut self,
        token_hash: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserSn>, StorageError> {
        let find = "SELECT user_sn FROM login_tokens WHERE token_hash = $1";
        let found = self.query_optional(find, params![token_hash.as_slice()], |row| row.get::<UserSn>(0)).await?;
        let Some(user_sn) = found else { return Ok(None) };
        // An update locks the row, on both engines, against other nodes. The account comes first, as where its tokens are ended.
        let lock = "UPDATE accounts SET password_hash = password_hash WHERE user_sn = $1 AND deactivated_at IS NULL";
        if self.execute(lock, params![user_sn]).await? == 0 {
            return Ok(None);
        }
        let take = "DELETE FROM login_tokens WHERE token_hash = $1 RETURNING expires_at";
        let taken = self.query_optional(take, params![token_hash.as_slice()], |row| row.get::<Timestamp>(0)).await?;
        Ok(taken.filter(|expires_at| *expires_at > now).map(|_| user_sn))
    }

    /// Ends the tokens of a user.
    pub(crate) async fn delete_login_tokens(&mut self, user_sn: UserSn) -> Result<(), StorageError> {
        self.execute("DELETE FROM login_tokens WHERE user_sn = $1", params![user_sn]).await.map(drop)
    }
}
