//! Tokens that let their holders register.

use homeserver_core::Timestamp;

use crate::{Database, StorageError, Tx, params};

/// A registration token that can be used at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsableToken {
    /// Whether the account made with it administers this server.
    pub makes_admin: bool,
}

impl Database {
    /// What a registration token is good for, if it can be used now.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn usable_registration_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<UsableToken>, StorageError> {
        let sql = "SELECT makes_admin FROM registration_tokens WHERE token = $1 \
                   AND (uses_allowed IS NULL OR uses_completed < uses_allowed) AND (expires_at IS NULL OR expires_at > $2)";
        self.query_optional(sql, params![token, now], |row| Ok(UsableToken { makes_admin: row.get(0)? })).await
    }

    /// The unused token that makes its holder an administrator, if there is one.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn admin_registration_token(&self) -> Result<Option<String>, StorageError> {
        let sql = "SELECT token FROM registration_tokens WHERE makes_admin AND uses_completed < uses_allowed";
        self.query_optional(sql, &[], |row| row.get(0)).await
    }

    /// Stores a single-use token that makes its holder an administrator.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn insert_admin_registration_token(&self, token: String) -> Result<(), StorageError> {
        let sql = "INSERT INTO registration_tokens (token, uses_allowed, makes_admin) VALUES ($1, 1, TRUE)";
        self.write(async move |tx| tx.execute(sql, params![&token]).await.map(drop)).await
    }
}

impl Tx {
    /// Counts a use of a registration token. `None` if it cannot be used any more.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn use_registration_token(
        &mut self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<UsableToken>, StorageError> {
        let sql = "UPDATE registration_tokens SET uses_completed = uses_completed + 1 WHERE token = $1 \
                   AND (uses_allowed IS NULL OR uses_completed < uses_allowed) AND (expires_at IS NULL OR expires_at > $2) \
                   RETURNING makes_admin";
        self.query_optional(sql, params![token, now], |row| Ok(UsableToken { makes_admin: row.get(0)? })).await
    }

    /// Takes back a use of a registration token.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn return_registration_token(&mut self, token: &str) -> Result<(), StorageError> {
        let sql = "UPDATE registration_tokens SET uses_completed = uses_completed - 1 WHERE token = $1";
        self.execute(sql, params![token]).await.map(drop)
    }
}
