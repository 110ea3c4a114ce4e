//! Which server a database belongs to: its name, and the public halves of the keys that have signed its events.

use homeserver_core::Timestamp;

use crate::{Database, StorageError, Tx, params};

/// The public half of a key that signs, or has signed, this server's events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SigningKey {
    /// Algorithm and version, such as `ed25519:a_1`.
    pub key_id: String,
    /// In unpadded base64.
    pub public_key: String,
    /// Since when it signs nothing any more; `None` for the one that does.
    pub retired_at: Option<Timestamp>,
}

impl Database {
    /// A value that the server keeps about itself.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn server_value(&self, name: &str) -> Result<Option<String>, StorageError> {
        self.query_optional("SELECT value FROM server_values WHERE name = $1", params![name], |row| row.get(0)).await
    }

    /// The user ID of the first account, if there is one.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn first_account(&self) -> Result<Option<String>, StorageError> {
        let sql = "SELECT u.user_id FROM accounts a JOIN users u ON u.user_sn = a.user_sn ORDER BY a.user_sn LIMIT 1";
        self.query_optional(sql, &[], |row| row.get(0)).await
    }

    /// Whether there is any event, and so something that was signed.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_events(&self) -> Result<bool, StorageError> {
        Ok(self.query_optional("SELECT 1 FROM events LIMIT 1", &[], |_| Ok(())).await?.is_some())
    }

    /// All keys that were ever this server's.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, StorageError> {
        let sql = "SELECT key_id, public_key, retired_at FROM signing_keys ORDER BY key_id";
        let key = |row: &crate::Row<'_>| {
            Ok(SigningKey { key_id: row.get(0)?, public_key: row.get(1)?, retired_at: row.get(2)? })
        };
        self.query(sql, &[], key).await
    }
}

impl Tx {
    /// Stores a value that the server keeps about itself, in place of the one that it had.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn set_server_value(&mut self, name: &str, value: &str) -> Result<(), StorageError> {
        let sql = "INSERT INTO server_values (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.execute(sql, params![name, value]).await.map(drop)
    }

    /// Has this key sign from now on, and retires the one that did.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn set_signing_key(
        &mut self,
        key_id: &str,
        public_key: &str,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let sql = "UPDATE signing_keys SET retired_at = $2 WHERE key_id <> $1 AND retired_at IS NULL";
        self.execute(sql, params![key_id, now]).await?;
        let sql = "INSERT INTO signing_keys (key_id, public_key) VALUES ($1, $2) \
                   ON CONFLICT (key_id) DO UPDATE SET public_key = excluded.public_key, retired_at = NULL";
        self.execute(sql, params![key_id, public_key]).await.map(drop)
    }
}
