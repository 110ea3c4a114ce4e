//! Accounts that administrators lock or suspend.

use homeserver_core::UserSn;

use crate::{Database, StorageError, params};

/// What administrators have decided on an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccountStanding {
    /// Whose account it is.
    pub user_sn: UserSn,
    /// Whether the user administers this server.
    pub is_admin: bool,
    /// Whether the account is closed for good.
    pub is_deactivated: bool,
    /// Whether the user can only log out.
    pub is_locked: bool,
    /// Whether the user can change nothing that others see.
    pub is_suspended: bool,
}

impl Database {
    /// What administrators have decided on the account of the user with this ID.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account_standing(&self, user_id: &str) -> Result<Option<AccountStanding>, StorageError> {
        let sql = "SELECT a.user_sn, a.is_admin, a.deactivated_at IS NOT NULL, a.is_locked, a.is_suspended \
                   FROM accounts a JOIN users u ON u.user_sn = a.user_sn WHERE u.user_id = $1";
        self.query_optional(sql, params![user_id], |row| {
            Ok(AccountStanding {
                user_sn: row.get(0)?,
                is_admin: row.get(1)?,
                is_deactivated: row.get(2)?,
                is_locked: row.get(3)?,
                is_suspended: row.get(4)?,
            })
        })
        .await
    }

    /// Locks an account, or unlocks it.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_locked(&self, user_sn: UserSn, is_locked: bool) -> Result<(), StorageError> {
        let sql = "UPDATE accounts SET is_locked = $2 WHERE user_sn = $1";
        self.set_standing(sql, user_sn, is_locked).await
    }

    /// Suspends an account, or ends that.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_suspended(&self, user_sn: UserSn, is_suspended: bool) -> Result<(), StorageError> {
        let sql = "UPDATE accounts SET is_suspended = $2 WHERE user_sn = $1";
        self.set_standing(sql, user_sn, is_suspended).await
    }

    async fn set_standing(&self, sql: &'static str, user_sn: UserSn, value: bool) -> Result<(), StorageError> {
        self.write(async move |tx| {
            tx.note_account_change(user_sn).await?;
            tx.execute(sql, params![user_sn, value]).await.map(drop)
        })
        .await
    }
}
