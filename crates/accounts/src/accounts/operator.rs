//! What the operator does with accounts, without a proof of the owner.

use homeserver_core::UserSn;
use ruma::OwnedUserId;
use storage::{Account, LogOut};

use super::{AccountError, Accounts};
use crate::registration::localpart;
use crate::uia::{Authorisation, NewPassword};

/// Users on a page of the list.
const LISTED_AT_ONCE: i64 = 500;

/// A user of this server, for the operator.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The user's number.
    pub user_sn: UserSn,
    /// The user's ID.
    pub user_id: String,
    /// Whether the user administers this server.
    pub is_admin: bool,
    /// Whether the user is a guest.
    pub is_guest: bool,
    /// Whether the account has been closed.
    pub is_deactivated: bool,
}

impl Accounts {
    /// Gives a user another password, and ends all their sessions.
    ///
    /// # Errors
    /// [`AccountError::NoSuchUser`], or [`AccountError::Deactivated`].
    pub async fn set_password(&self, name: &str, password: &str) -> Result<OwnedUserId, AccountError> {
        let (account, user_id) = self.local_account(name).await?;
        let nobody = Authorisation::default();
        let new = NewPassword::Plain(password.to_owned());
        let new = self.new_password_hash(&nobody, new, LogOut::AllBut(None)).await?;
        let revoked = self.database.change_password_hash(account.user_sn, None, new).await?;
        self.sessions.end(&revoked.ok_or(AccountError::Deactivated)?);
        Ok(user_id)
    }

    /// Closes an account for good. The server leaves the rooms when it runs.
    ///
    /// # Errors
    /// [`AccountError::NoSuchUser`], or [`AccountError::Deactivated`] if that was done before.
    pub async fn deactivate_by_name(&self, name: &str, erase: bool) -> Result<OwnedUserId, AccountError> {
        let (account, user_id) = self.local_account(name).await?;
        if account.deactivated_at.is_some() {
            return Err(AccountError::Deactivated);
        }
        self.close(account.user_sn, None, erase).await?;
        Ok(user_id)
    }

    /// Makes a user an administrator of this server, or an ordinary user again.
    ///
    /// # Errors
    /// [`AccountError::NoSuchUser`], or [`AccountError::Deactivated`].
    pub async fn set_admin(&self, name: &str, is_admin: bool) -> Result<OwnedUserId, AccountError> {
        let (account, user_id) = self.local_account(name).await?;
        let changed = self.database.set_admin(account.user_sn, is_admin).await?;
        if changed { Ok(user_id) } else { Err(AccountError::Deactivated) }
    }

    /// The users of this server behind `after`, in the order of their registration; none at the end.
    ///
    /// # Errors
    /// [`AccountError::Storage`].
    pub async fn list(&self, after: Option<UserSn>) -> Result<Vec<Listed>, AccountError> {
        let accounts = self.database.accounts_after(after.unwrap_or(UserSn(0)), LISTED_AT_ONCE).await?;
        let listed = |(user_id, account): (String, Account)| Listed {
            user_sn: account.user_sn,
            user_id,
            is_admin: account.is_admin,
            is_guest: account.is_guest,
            is_deactivated: account.deactivated_at.is_some(),
        };
        Ok(accounts.into_iter().map(listed).collect())
    }

    /// The account of a user of this server whom the operator names, by the localpart or the whole ID.
    async fn local_account(&self, name: &str) -> Result<(Account, OwnedUserId), AccountError> {
        let localpart = localpart(name, &self.server_name)?;
        self.by_name(localpart).await?.ok_or(AccountError::NoSuchUser)
    }
}
