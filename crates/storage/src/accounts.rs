//! Accounts of this server's users.

use homeserver_core::{DeviceSn, Timestamp, UserSn};

use crate::tokens::TokenHash;
use crate::uia::UiaOutcome;
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

/// Whose sessions end with a change of the password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogOut {
    /// None.
    Nobody,
    /// Those of all devices but this one, if there is one.
    AllBut(Option<DeviceSn>),
}

/// The hash of a password that replaces another one.
#[derive(Clone, Debug)]
pub struct NewPasswordHash {
    /// The hash in PHC format.
    pub hash: String,
    /// Whose sessions end.
    pub log_out: LogOut,
    /// The session of user-interactive authentication in which it was authorised, if that is stored.
    pub authorised_in: Option<UiaOutcome>,
    /// When it happens.
    pub now: Timestamp,
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

    /// Whether there is any account but those of guests.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_accounts(&self) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM accounts WHERE NOT is_guest LIMIT 1";
        Ok(self.query_optional(sql, &[], |_| Ok(())).await?.is_some())
    }

    /// Replaces a password's hash, which must be `known` if that is given, and ends the sessions that are to end. Returns the hashes
    /// of their access tokens; `None` if the account has another password by now, or is closed.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn change_password_hash(
        &self,
        user_sn: UserSn,
        known: Option<String>,
        new: NewPasswordHash,
    ) -> Result<Option<Vec<TokenHash>>, StorageError> {
        self.write(async move |tx| {
            tx.note_account_change(user_sn).await?;
            if let Some(known) = &known
                && !tx.lock_password_hash(user_sn, known).await?
            {
                return Ok(None);
            }
            tx.replace_password_hash(user_sn, &new).await
        })
        .await
    }

    /// Makes a user an administrator or takes that away. `false` if the account is closed.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_admin(&self, user_sn: UserSn, is_admin: bool) -> Result<bool, StorageError> {
        let sql = "UPDATE accounts SET is_admin = $2 WHERE user_sn = $1 AND deactivated_at IS NULL AND NOT is_guest";
        self.write(async move |tx| {
            tx.note_account_change(user_sn).await?;
            Ok(tx.execute(sql, params![user_sn, is_admin]).await? > 0)
        })
        .await
    }

    /// The accounts behind `after`, in the order in which they were made, at most `limit`: each with its user's ID.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn accounts_after(&self, after: UserSn, limit: i64) -> Result<Vec<(String, Account)>, StorageError> {
        let sql = "SELECT a.user_sn, a.password_hash, a.created_at, a.is_admin, a.is_guest, a.deactivated_at, a.user_type, u.user_id \
                   FROM accounts a JOIN users u ON u.user_sn = a.user_sn WHERE a.user_sn > $1 ORDER BY a.user_sn LIMIT $2";
        self.query(sql, params![after, limit], |row| Ok((row.get(7)?, read_account(row)?))).await
    }

    /// Replaces the password's hash of the user with the e-mail address that was confirmed in this session, which is used up. Returns
    /// the hashes of the access tokens that were valid; `None` if the session cannot be used any more, or no user has the address.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn reset_password_hash(
        &self,
        session_id: String,
        purpose: &'static str,
        new: NewPasswordHash,
    ) -> Result<Option<Vec<TokenHash>>, StorageError> {
        self.write(async move |tx| {
            let Some(session) = tx.take_validation(&session_id, purpose, new.now).await? else { return Ok(None) };
            let Some(user_sn) = tx.threepid_owner("email", &session.address).await? else { return Ok(None) };
            tx.note_account_change(user_sn).await?;
            tx.replace_password_hash(user_sn, &new).await
        })
        .await
    }
}

impl Tx {
    /// Whether an account that is not closed has this password's hash. It keeps it until the commit.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn lock_password_hash(&mut self, user_sn: UserSn, hash: &str) -> Result<bool, StorageError> {
        // An update locks the row, on both engines, against other nodes.
        let sql = "UPDATE accounts SET password_hash = password_hash \
                   WHERE user_sn = $1 AND password_hash = $2 AND deactivated_at IS NULL";
        Ok(self.execute(sql, params![user_sn, hash]).await? > 0)
    }

    async fn replace_password_hash(
        &mut self,
        user_sn: UserSn,
        new: &NewPasswordHash,
    ) -> Result<Option<Vec<TokenHash>>, StorageError> {
        let sql = "UPDATE accounts SET password_hash = $2 WHERE user_sn = $1 AND deactivated_at IS NULL";
        if self.execute(sql, params![user_sn, &new.hash]).await? == 0 {
            return Ok(None);
        }
        if let Some(done) = &new.authorised_in {
            self.finish_uia_session(done).await?;
        }
        match new.log_out {
            LogOut::Nobody => Ok(Some(Vec::new())),
            LogOut::AllBut(except) => self.delete_all_devices(user_sn, except).await.map(Some),
        }
    }

    /// Closes an account for good: its password, addresses, devices and tokens are gone, its user ID stays taken. With `erase`, so is
    /// what the user has set, and newcomers to the user's rooms see redacted events. Returns the hashes of the access tokens that were valid.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn deactivate_account(
        &mut self,
        user_sn: UserSn,
        now: Timestamp,
        erase: bool,
    ) -> Result<Vec<TokenHash>, StorageError> {
        let sql = "UPDATE accounts SET password_hash = NULL, is_admin = FALSE, deactivated_at = $2 \
                   WHERE user_sn = $1 AND deactivated_at IS NULL";
        self.execute(sql, params![user_sn, now]).await?;
        self.delete_threepids(user_sn).await?;
        self.end_presence(user_sn, now).await?;
        if erase {
            self.erase_user(user_sn).await?;
        }
        self.remove_encryption_of_user(user_sn).await?;
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
        if created {
            // The user may have been invited before there was an account.
            let sql = "UPDATE memberships SET is_local = TRUE WHERE user_sn = $1 AND NOT is_local";
            self.execute(sql, params![user_sn]).await?;
        }
        if created && !account.is_guest {
            self.delete_first_account_tokens().await?;
        }
        Ok(created.then_some(user_sn))
    }

    /// Makes a guest's account one as `account` says. `None` if it is no guest's any more.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn upgrade_guest(
        &mut self,
        user_sn: UserSn,
        account: &NewAccount,
    ) -> Result<Option<UserSn>, StorageError> {
        let sql = "UPDATE accounts SET is_guest = FALSE, password_hash = $2, is_admin = $3, user_type = $4 \
                   WHERE user_sn = $1 AND is_guest AND deactivated_at IS NULL";
        let values = params![user_sn, &account.password_hash, account.is_admin, &account.user_type];
        let upgraded = self.execute(sql, values).await? > 0;
        if upgraded {
            self.delete_first_account_tokens().await?;
        }
        Ok(upgraded.then_some(user_sn))
    }

    /// Removes the token for the first account: it is void once a user has registered.
    async fn delete_first_account_tokens(&mut self) -> Result<(), StorageError> {
        self.execute("DELETE FROM registration_tokens WHERE makes_admin", &[]).await.map(drop)
    }

    /// Whether a user ID is taken.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account_exists(&mut self, user_id: &str) -> Result<bool, StorageError> {
        Ok(self.query_optional(BY_USER_ID, params![user_id], |_| Ok(())).await?.is_some())
    }
}
