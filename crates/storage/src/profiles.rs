//! Profile fields of this server's users. Values are JSON texts.

use homeserver_core::UserSn;

use crate::{Database, StorageError, Tx, params};

impl Database {
    /// All fields of a profile and their values.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn profile(&self, user_sn: UserSn) -> Result<Vec<(String, String)>, StorageError> {
        let sql = "SELECT field, value FROM profile_fields WHERE user_sn = $1 ORDER BY field";
        self.query(sql, params![user_sn], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// The value of one field of a profile.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn profile_field(&self, user_sn: UserSn, field: &str) -> Result<Option<String>, StorageError> {
        let sql = "SELECT value FROM profile_fields WHERE user_sn = $1 AND field = $2";
        self.query_optional(sql, params![user_sn, field], |row| row.get(0)).await
    }
}

impl Tx {
    /// Sets a field of a profile, unless all fields together would be larger than `limit_bytes`. Returns whether it was set.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn set_bounded_profile_field(
        &mut self,
        user_sn: UserSn,
        field: &str,
        value: &str,
        limit_bytes: i64,
    ) -> Result<bool, StorageError> {
        self.lock_account(user_sn).await?;
        // `"field":value,` for each.
        let sql = "SELECT CAST(COALESCE(SUM(OCTET_LENGTH(field) + OCTET_LENGTH(value) + 4), 0) AS BIGINT) FROM profile_fields \
                   WHERE user_sn = $1 AND field <> $2";
        let added = i64::try_from(field.len() + value.len() + 4).unwrap_or(i64::MAX);
        let others = self.query_optional(sql, params![user_sn, field], |row| row.get::<i64>(0)).await?.unwrap_or(0);
        if others.saturating_add(added) > limit_bytes {
            return Ok(false);
        }
        self.set_profile_field(user_sn, field, value).await?;
        Ok(true)
    }

    /// Removes a field of a profile.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn delete_profile_field(&mut self, user_sn: UserSn, field: &str) -> Result<(), StorageError> {
        let sql = "DELETE FROM profile_fields WHERE user_sn = $1 AND field = $2";
        self.execute(sql, params![user_sn, field]).await.map(drop)
    }

    /// Sets a field of a profile.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn set_profile_field(&mut self, user_sn: UserSn, field: &str, value: &str) -> Result<(), StorageError> {
        let sql = "INSERT INTO profile_fields (user_sn, field, value) VALUES ($1, $2, $3) \
                   ON CONFLICT (user_sn, field) DO UPDATE SET value = excluded.value";
        self.execute(sql, params![user_sn, field, value]).await.map(drop)
    }
}
