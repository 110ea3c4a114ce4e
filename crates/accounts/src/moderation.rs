//! What administrators do with accounts: locking, suspending, and looking at sessions.

use std::sync::Arc;

use ruma::{OwnedServerName, UserId};
pub use storage::{AccountStanding, Device};
use storage::{Database, StorageError};

use crate::sessions::{Requester, Sessions};

/// Why an administrator cannot do something with an account.
#[derive(Debug, thiserror::Error)]
pub enum ModerationError {
    /// The user is of another server.
    #[error("This user does not belong to this server")]
    NotLocal,
    /// There is no such account, or it is deactivated.
    #[error("There is no such user on this server")]
    NoSuchUser,
    /// The account is that of an administrator.
    #[error("Administrators cannot lock or suspend each other")]
    Administrator,
    /// The requester is neither an administrator nor the user.
    #[error("Only administrators look at the sessions of others")]
    NotAllowed,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Locks and suspends accounts.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#account-moderation>
pub struct Moderation {
    database: Database,
    server_name: OwnedServerName,
    sessions: Arc<Sessions>,
}

impl Moderation {
    /// The accounts stored in `database`, of this server's users, who have these sessions.
    #[must_use]
    pub fn new(database: Database, server_name: OwnedServerName, sessions: Arc<Sessions>) -> Self {
        Self { database, server_name, sessions }
    }

    /// What was decided on an account.
    ///
    /// # Errors
    /// [`ModerationError`].
    pub async fn standing(&self, user_id: &UserId) -> Result<AccountStanding, ModerationError> {
        if user_id.server_name() != self.server_name {
            return Err(ModerationError::NotLocal);
        }
        let standing = self.database.account_standing(user_id.as_str()).await?;
        standing.filter(|standing| !standing.is_deactivated).ok_or(ModerationError::NoSuchUser)
    }

    /// What was decided on an account that is no administrator's.
    ///
    /// # Errors
    /// [`ModerationError`].
    pub async fn standing_of_user(&self, user_id: &UserId) -> Result<AccountStanding, ModerationError> {
        let standing = self.standing(user_id).await?;
        if standing.is_admin { Err(ModerationError::Administrator) } else { Ok(standing) }
    }

    /// Locks an account, or unlocks it. Its sessions stay.
    ///
    /// # Errors
    /// [`ModerationError`].
    pub async fn set_locked(&self, user_id: &UserId, is_locked: bool) -> Result<(), ModerationError> {
        let user_sn = self.standing_of_user(user_id).await?.user_sn;
        self.database.set_locked(user_sn, is_locked).await?;
        Ok(self.sessions.look_up_again(user_sn).await?)
    }

    /// Suspends an account, or ends that.
    ///
    /// # Errors
    /// [`ModerationError`].
    pub async fn set_suspended(&self, user_id: &UserId, is_suspended: bool) -> Result<(), ModerationError> {
        let user_sn = self.standing_of_user(user_id).await?.user_sn;
        self.database.set_suspended(user_sn, is_suspended).await?;
        Ok(self.sessions.look_up_again(user_sn).await?)
    }

    /// The devices of a user, for the user or an administrator: when and from where they were last used.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid>
    ///
    /// # Errors
    /// [`ModerationError`].
    pub async fn devices(&self, requester: &Requester, user_id: &UserId) -> Result<Vec<Device>, ModerationError> {
        if !requester.is_admin && requester.user_id != user_id {
            return Err(ModerationError::NotAllowed);
        }
        let user_sn = self.standing(user_id).await?.user_sn;
        let mut devices = self.database.devices(user_sn).await?;
        self.sessions.unwritten_uses(&mut devices);
        Ok(devices)
    }
}
