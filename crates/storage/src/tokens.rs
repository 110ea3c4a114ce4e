//! Access and refresh tokens, stored as SHA-256 hashes.

use homeserver_core::{DeviceSn, KeySn, Timestamp, UserSn};

use crate::{Database, Row, StorageError, Tx, params};

/// The SHA-256 hash of a token.
pub type TokenHash = [u8; 32];

/// An access token and whom it belongs to.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// The user.
    pub user_sn: UserSn,
    /// The user's ID.
    pub user_id: String,
    /// The number of the user's ID as a state key.
    pub user_key_sn: Option<KeySn>,
    /// The device.
    pub device_sn: DeviceSn,
    /// The device's ID.
    pub device_id: String,
    /// Whether the user is a guest.
    pub is_guest: bool,
    /// Whether the user administers this server.
    pub is_admin: bool,
    /// Whether the account is locked.
    pub is_locked: bool,
    /// Whether the account is suspended.
    pub is_suspended: bool,
    /// When the token expires.
    pub expires_at: Option<Timestamp>,
    /// The refresh token that was issued with it.
    pub refresh_hash: Option<TokenHash>,
    /// When the device was last seen.
    pub last_seen_at: Option<Timestamp>,
}

/// Tokens to be stored for a device.
#[derive(Clone, Debug)]
pub struct NewTokens {
    /// The access token.
    pub access_hash: TokenHash,
    /// When the access token expires.
    pub expires_at: Option<Timestamp>,
    /// The refresh token issued with it.
    pub refresh_hash: Option<TokenHash>,
    /// When they are made.
    pub created_at: Timestamp,
}

/// What became of an attempt to use a refresh token.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// Access tokens that are no longer valid.
    pub revoked: Vec<TokenHash>,
}

fn hash_from(bytes: &[u8], column: usize) -> Result<TokenHash, StorageError> {
    bytes.try_into().map_err(|_| StorageError::Value { column, reason: format!("a hash of {} bytes", bytes.len()) })
}

pub(crate) fn read_hash(row: &Row<'_>) -> Result<TokenHash, StorageError> {
    hash_from(&row.get::<Vec<u8>>(0)?, 0)
}

fn read_session(row: &Row<'_>) -> Result<StoredSession, StorageError> {
    Ok(StoredSession {
        user_sn: row.get(0)?,
        user_id: row.get(1)?,
        device_sn: row.get(2)?,
        device_id: row.get(3)?,
        is_guest: row.get(4)?,
        is_admin: row.get(5)?,
        expires_at: row.get(6)?,
        refresh_hash: row.get::<Option<Vec<u8>>>(7)?.map(|bytes| hash_from(&bytes, 7)).transpose()?,
        last_seen_at: row.get(8)?,
        user_key_sn: row.get(9)?,
        is_locked: row.get(10)?,
        is_suspended: row.get(11)?,
    })
}

impl Database {
    /// The hashes of a user's access tokens.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn access_tokens_of(&self, user_sn: UserSn) -> Result<Vec<TokenHash>, StorageError> {
        self.query("SELECT token_hash FROM access_tokens WHERE user_sn = $1", params![user_sn], read_hash).await
    }

    /// Whom an access token belongs to.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn session(&self, access_hash: &TokenHash) -> Result<Option<StoredSession>, StorageError> {
        let sql = "SELECT t.user_sn, u.user_id, t.device_sn, d.device_id, a.is_guest, a.is_admin, t.expires_at, t.refresh_hash, \
                   d.last_seen_at, k.key_sn, a.is_locked, a.is_suspended FROM access_tokens t JOIN users u ON u.user_sn = t.user_sn \
                   LEFT JOIN state_keys k ON k.state_key = u.user_id \
                   JOIN accounts a ON a.user_sn = t.user_sn JOIN devices d ON d.device_sn = t.device_sn WHERE t.token_hash = $1";
        self.query_optional(sql, params![access_hash.as_slice()], read_session).await
    }

    /// Whether a refresh token is still accepted to which `refresh_hash` is the successor.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_predecessor(&self, device_sn: DeviceSn, refresh_hash: &TokenHash) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM refresh_tokens WHERE device_sn = $1 AND next_hash = $2";
        Ok(self.query_optional(sql, params![device_sn, refresh_hash.as_slice()], |_| Ok(())).await?.is_some())
    }

    /// Revokes the refresh token to which `refresh_hash` is the successor, and the access token issued with it, because the
    /// client has shown that it received the new ones.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn retire_predecessor(
        &self,
        user_sn: UserSn,
        device_sn: DeviceSn,
        refresh_hash: TokenHash,
    ) -> Result<Vec<TokenHash>, StorageError> {
        self.write(async move |tx| {
            tx.note_new_tokens(user_sn).await?;
            tx.retire_predecessor(device_sn, &refresh_hash).await
        })
        .await
    }

    /// Replaces a refresh token by new tokens. The old one stays valid until the new ones are used. `None` if it is unknown.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn refresh_tokens(&self, used: TokenHash, new: NewTokens) -> Result<Option<Refreshed>, StorageError> {
        self.write(async move |tx| tx.refresh_tokens(&used, &new).await).await
    }
}

impl Tx {
    /// Stores new tokens of a device.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn insert_tokens(
        &mut self,
        user_sn: UserSn,
        device_sn: DeviceSn,
        new: &NewTokens,
    ) -> Result<(), StorageError> {
        let refresh_hash = new.refresh_hash.as_ref().map(TokenHash::as_slice);
        if refresh_hash.is_some() {
            let sql = "INSERT INTO refresh_tokens (token_hash, user_sn, device_sn, created_at) VALUES ($1, $2, $3, $4)";
            self.execute(sql, params![refresh_hash, user_sn, device_sn, new.created_at]).await?;
        }
        let sql = "INSERT INTO access_tokens (token_hash, user_sn, device_sn, created_at, expires_at, refresh_hash) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let values =
            params![new.access_hash.as_slice(), user_sn, device_sn, new.created_at, new.expires_at, refresh_hash];
        self.execute(sql, values).await?;
        Ok(())
    }

    /// Deletes all tokens of devices. Returns the hashes of the access tokens.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn delete_tokens(&mut self, devices: &[i64]) -> Result<Vec<TokenHash>, StorageError> {
        self.execute("DELETE FROM refresh_tokens WHERE device_sn IN LIST($1)", params![devices]).await?;
        let sql = "DELETE FROM access_tokens WHERE device_sn IN LIST($1) RETURNING token_hash";
        self.query(sql, params![devices], read_hash).await
    }

    async fn retire_predecessor(
        &mut self,
        device_sn: DeviceSn,
        refresh_hash: &TokenHash,
    ) -> Result<Vec<TokenHash>, StorageError> {
        let sql = "DELETE FROM refresh_tokens WHERE device_sn = $1 AND next_hash = $2 RETURNING token_hash";
        let retired = self.query(sql, params![device_sn, refresh_hash.as_slice()], read_hash).await?;
        let mut revoked = Vec::new();
        for hash in &retired {
            revoked.extend(self.delete_access_tokens_of(hash).await?);
        }
        Ok(revoked)
    }

    async fn delete_access_tokens_of(&mut self, refresh_hash: &TokenHash) -> Result<Vec<TokenHash>, StorageError> {
        let sql = "DELETE FROM access_tokens WHERE refresh_hash = $1 RETURNING token_hash";
        self.query(sql, params![refresh_hash.as_slice()], read_hash).await
    }

    async fn refresh_tokens(&mut self, used: &TokenHash, new: &NewTokens) -> Result<Option<Refreshed>, StorageError> {
        // The log is locked before the rows of an account, on every node.
        let find = "SELECT user_sn FROM refresh_tokens WHERE token_hash = $1";
        let Some(user_sn) = self.query_optional(find, params![used.as_slice()], |row| row.get(0)).await? else {
            return Ok(None);
        };
        self.note_new_tokens(user_sn).await?;
        // Locked: of two requests with the same token at the same time, the second sees what the first has written.
        let sql = "SELECT user_sn, device_sn, next_hash FROM refresh_tokens WHERE token_hash = $1 FOR_UPDATE";
        let found = self
            .query_optional(sql, params![used.as_slice()], |row| {
                Ok((row.get::<UserSn>(0)?, row.get::<DeviceSn>(1)?, row.get::<Option<Vec<u8>>>(2)?))
            })
            .await?;
        let Some((user_sn, device_sn, next_hash)) = found else { return Ok(None) };
        let mut revoked = self.retire_predecessor(device_sn, used).await?;
        if let Some(next_hash) = next_hash {
            // The client asks again, so it never received what it was given the last time.
            let next_hash = hash_from(&next_hash, 2)?;
            revoked.extend(self.delete_access_tokens_of(&next_hash).await?);
            self.execute("DELETE FROM refresh_tokens WHERE token_hash = $1", params![next_hash.as_slice()]).await?;
        }
        self.insert_tokens(user_sn, device_sn, new).await?;
        let next_hash = new.refresh_hash.as_ref().map(TokenHash::as_slice);
        self.execute(
            "UPDATE refresh_tokens SET next_hash = $2 WHERE token_hash = $1",
            params![used.as_slice(), next_hash],
        )
        .await?;
        Ok(Some(Refreshed { revoked }))
    }
}
