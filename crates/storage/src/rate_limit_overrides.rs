//! Users whose rate limits an administrator has changed.

use homeserver_core::UserSn;

use crate::{Database, Row, StorageError, params};

/// The rate of messages of one user. Neither figure is negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateOverride {
    /// Messages a second for good; 0 lifts all limits.
    pub messages_per_second: i64,
    /// Messages at once.
    pub burst: i64,
}

/// Overrides that are kept in memory. An administrator makes each of them.
const MOST: i64 = 100_000;

impl Database {
    /// All overrides, up to a hundred thousand.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rate_limit_overrides(&self) -> Result<Vec<(UserSn, RateOverride)>, StorageError> {
        let sql = "SELECT messages_per_second, burst, user_sn FROM rate_limit_overrides ORDER BY user_sn LIMIT $1";
        self.query(sql, params![MOST], |row| Ok((row.get(2)?, read(row)?))).await
    }

    /// The override of a user, if there is one.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rate_limit_override(&self, user_sn: UserSn) -> Result<Option<RateOverride>, StorageError> {
        let sql = "SELECT messages_per_second, burst FROM rate_limit_overrides WHERE user_sn = $1";
        self.query_optional(sql, params![user_sn], read).await
    }

    /// Sets the override of a user.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_rate_limit_override(&self, user_sn: UserSn, entry: RateOverride) -> Result<(), StorageError> {
        let sql = "INSERT INTO rate_limit_overrides (user_sn, messages_per_second, burst) VALUES ($1, $2, $3) \
                   ON CONFLICT (user_sn) DO UPDATE SET messages_per_second = excluded.messages_per_second, \
                   burst = excluded.burst";
        let RateOverride { messages_per_second, burst } = entry;
        self.write(async move |tx| tx.execute(sql, params![user_sn, messages_per_second, burst]).await.map(drop)).await
    }

    /// Removes the override of a user, if there is one.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn delete_rate_limit_override(&self, user_sn: UserSn) -> Result<(), StorageError> {
        let sql = "DELETE FROM rate_limit_overrides WHERE user_sn = $1";
        self.write(async move |tx| tx.execute(sql, params![user_sn]).await.map(drop)).await
    }
}

fn read(row: &Row<'_>) -> Result<RateOverride, StorageError> {
    Ok(RateOverride { messages_per_second: row.get(0)?, burst: row.get(1)? })
}
