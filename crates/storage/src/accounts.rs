//! Accounts of this server's users.

use homeserver_core::{Timestamp, UserSn};

use crate::tokens::TokenHash;
use crate::{Database, Row, StorageError, Tx, params};

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Whose.
    pub user_sn: UserSn,
    /// The password's hash in PHC format; none if the account cannot log in with a password.
    pub password_hash: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether the user administers this server.
    pub is_admin: bool,
    /// Whether the user is a guest.
    pub is_guest: bool,
    /// When it was deactivated, if it was.
    pub deactivated_at: Option<Timestamp>,
    /// What kind of user it is, in the words of the admin API.
    pub user_type: Option<String>,
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The user's ID.
    pub user_id: String,
    /// The password's hash in PHC format.
    pub password_hash: Option<String>,
    /// When it is made.
    pub created_at: Timestamp,
    /// Whether the user administers this server.
    pub is_admin: bool,
    /// Whether the user is a guest.
    pub is_guest: bool,
    /// What kind of user it is, in the words of the admin API.
    pub user_type: Option<String>,
}

const COLUMNS: &str = "SELECT a.user_sn, a.password_hash, a.created_at, a.is_admin, a.is_guest, a.deactivated_at, a.user_type \
                       FROM accounts a WHERE a.user_sn = $1";
const BY_USER_ID: &str = "SELECT a.user_sn, a.password_hash, a.created_at, a.is_admin, a.is_guest, a.deactivated_at, a.user_type \
                          FROM accounts a JOIN users u ON u.user_sn = a.user_sn WHERE u.user_id = $1";

fn read_account(row: &Row<'_>) -> Result<Account, StorageError> {
    Ok(Account {
        user_sn: row.get(0)?,
        password_hash: row.get(1)?,
        created_at: row.get(2)?,
        is_admin: row.get(3)?,
        is_guest: row.get(4)?,
        deactivated_at: row.get(5)?,
        user_type: row.get(6)?,
    })
}

impl Database {
    /// The account of a user.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account(&self, user_sn: UserSn) -> Result<Option<Account>, StorageError> {
        self.query_optional(COLUMNS, params![user_sn], read_account).await
    }

    /// The account of the user with this ID.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account_by_user_id(&self, user_id: &str) -> Result<Option<Account>, StorageError> {
        self.query_optional(BY_USER_ID, params![user_id], read_account).await
    }

    /// Whether there is any account.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_accounts(&self) -> Result<bool, StorageError> {
        Ok(self.query_optional("SELECT 1 FROM accounts LIMIT 1", &[], |_| Ok(())).await?.is_some())
    }

    /// Replaces a password's hash.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_password_hash(&self, user_sn: UserSn, password_hash: String) -> Result<(), StorageError> {
        let sql = "UPDATE accounts SET password_hash = $2 WHERE user_sn = $1 AND deactivated_at IS NULL";
        self.write(async move |tx| tx.execute(sql, params![user_sn, &password_hash]).await.map(drop)).await
    }

    /// Replaces the password's hash of whoever has the e-mail address that was confirmed in this session, which is used up.
    /// `None` if the session cannot be used any more, or nobody has the address.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn reset_password_hash(
        &self,
        session_id: String,
        purpose: &'static str,
        password_hash: String,
        now: Timestamp,
    ) -> Result<Option<UserSn>, StorageError> {
        let sql = "UPDATE accounts SET password_hash = $2 WHERE user_sn = $1 AND deactivated_at IS NULL";
        self.write(async move |tx| {
            let Some(session) = tx.take_validation(&session_id, purpose, now).await? else { return Ok(None) };
            let Some(user_sn) = tx.threepid_owner("email", &session.address).await? else { return Ok(None) };
            let changed = tx.execute(sql, params![user_sn, &password_hash]).await? > 0;
            Ok(changed.then_some(user_sn))
        })
        .await
    }
}

impl Tx {
    /// Closes an account for good: its password, addresses, devices and tokens are gone, its user ID stays taken. With `erase`, what
    /// others can see of the user outside of rooms is removed as well. Returns the hashes of the access tokens that were valid.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn deactivate_account(
        &mut self,
        user_sn: UserSn,
        now: Timestamp,
        erase: bool,
    ) -> Result<Vec<TokenHash>, StorageError> {
        self.note_account_change(user_sn, now).await?;
        let sql = "UPDATE accounts SET password_hash = NULL, is_admin = FALSE, deactivated_at = $2 \
                   WHERE user_sn = $1 AND deactivated_at IS NULL";
        self.execute(sql, params![user_sn, now]).await?;
        self.delete_threepids(user_sn).await?;
        self.end_presence(user_sn, now).await?;
        if erase {
            self.execute("DELETE FROM profile_fields WHERE user_sn = $1", params![user_sn]).await?;
        }
        self.delete_all_devices(user_sn, None).await
    }

    /// Makes an account. `None` if the user ID is taken, also by a deactivated account.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn create_account(&mut self, account: &NewAccount) -> Result<Option<UserSn>, StorageError> {
        let sql = "INSERT INTO users (user_id) VALUES ($1) ON CONFLICT DO NOTHING";
        self.execute(sql, params![&account.user_id]).await?;
        // Sooner or later the user joins a room: then this need not be written first.
        let sql = "INSERT INTO state_keys (state_key) VALUES ($1) ON CONFLICT DO NOTHING";
        self.execute(sql, params![&account.user_id]).await?;
        let sql = "SELECT user_sn FROM users WHERE user_id = $1";
        let user_sn = self.query_optional(sql, params![&account.user_id], |row| row.get::<UserSn>(0)).await?;
        let user_sn =
            user_sn.ok_or_else(|| StorageError::Statement(format!("{} was not interned", account.user_id)))?;
        let sql = "INSERT INTO accounts (user_sn, password_hash, created_at, is_admin, is_guest, user_type) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        let values = params![
            user_sn,
            &account.password_hash,
            account.created_at,
            account.is_admin,
            account.is_guest,
            &account.user_type
        ];
        let created = self.execute(sql, values).await? > 0;
        if created && account.is_admin {
            // Whoever held the first account's token has no use for it any more.
            self.execute("DELETE FROM registration_tokens WHERE makes_admin", &[]).await?;
        }
        Ok(created.then_some(user_sn))
    }

    /// Whether a user ID is taken.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account_exists(&mut self, user_id: &str) -> Result<bool, StorageError> {
        Ok(self.query_optional(BY_USER_ID, params![user_id], |_| Ok(())).await?.is_some())
    }
}
