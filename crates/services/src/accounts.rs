//! Accounts that exist: proving to be their owner, changing the password, and closing them.

use std::sync::Arc;

use homeserver_core::{Clock, DeviceSn, UserSn};
use ruma::{OwnedServerName, OwnedUserId, UserId};
use storage::{Account, Database, StorageError, Tx};
use tasks::queue::{Job as _, JobQueue};

use crate::background::{LeaveAllRooms, PATIENCE};
use crate::passwords::{PasswordError, Passwords};
use crate::rate_limits::{Kind, LimitExceeded, RateLimits};
use crate::sessions::{Requester, Sessions};
use crate::threepids::{EMAIL, Purpose, canonical_email};
use crate::uia::{UserIdentifier, ValidatedEmail};

/// Why something could not be done with an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The user does not exist, has no password, or has another one.
    #[error("Wrong user name or password")]
    WrongPassword,
    /// The account has been closed.
    #[error("This account has been deactivated")]
    Deactivated,
    /// The e-mail address that was confirmed cannot be used any more.
    #[error("The confirmation of the e-mail address cannot be used any more: ask for a new mail")]
    ConfirmationUsedUp,
    /// The server does not use passwords.
    #[error("This server does not use passwords")]
    PasswordsDisabled,
    /// There were too many logins, or too many with a wrong password.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The password could not be handled.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The accounts of this server.
pub struct Accounts {
    database: Database,
    clock: Arc<dyn Clock>,
    server_name: OwnedServerName,
    /// None if the server does not use passwords.
    passwords: Option<Arc<Passwords>>,
    sessions: Arc<Sessions>,
    jobs: Arc<JobQueue>,
    rate_limits: Arc<RateLimits>,
}

impl Accounts {
    /// The accounts stored in `database`. Without `passwords` nobody can log in with one. `rate_limits` count logins.
    #[must_use]
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        server_name: OwnedServerName,
        passwords: Option<Arc<Passwords>>,
        sessions: Arc<Sessions>,
        jobs: Arc<JobQueue>,
        rate_limits: Arc<RateLimits>,
    ) -> Self {
        Self { database, clock, server_name, passwords, sessions, jobs, rate_limits }
    }

    /// Whether users can log in with a password.
    #[must_use]
    pub fn passwords_enabled(&self) -> bool {
        self.passwords().is_ok()
    }

    /// The user of this name, a localpart or a whole user ID in any case, if the password is theirs. It takes the same time to find
    /// that there is no such user.
    ///
    /// # Errors
    /// [`AccountError`].
    #[tracing::instrument(name = "check_password", level = "debug", skip_all)]
    pub async fn by_password(&self, name: &str, password: &str) -> Result<(UserSn, OwnedUserId), AccountError> {
        let lower_case = name.to_lowercase();
        let key = match self.user_id(&lower_case) {
            Some(user_id) => self.rate_limits.account(user_id.as_str()),
            None => self.rate_limits.account(&lower_case),
        };
        // Spent before it is known whether the attempt fails: many at once do not get more guesses than one after the other.
        let attempt = self.rate_limits.spend(Kind::LoginFailedAttempts, key, None)?;
        let proved = self.prove(name, password).await;
        if matches!(proved, Err(AccountError::WrongPassword | AccountError::Deactivated)) {
            attempt.keep();
            return proved;
        }
        attempt.give_back();
        let user = proved?;
        self.rate_limits.spend(Kind::LoginAccount, key, None)?.keep();
        Ok(user)
    }

    /// As [`by_password`](Self::by_password), for the user who has this e-mail address. Wrong passwords count against the account,
    /// whichever way it is named.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn by_email_and_password(
        &self,
        address: &str,
        password: &str,
    ) -> Result<(UserSn, OwnedUserId), AccountError> {
        let owner = match canonical_email(address) {
            Ok(address) => self.database.threepid_owner_id(EMAIL, &address).await?,
            Err(_) => None,
        };
        // It takes the same time to find that nobody has the address.
        self.by_password(owner.as_deref().unwrap_or(address), password).await
    }

    async fn prove(&self, name: &str, password: &str) -> Result<(UserSn, OwnedUserId), AccountError> {
        let found = self.by_name(name).await?;
        let hash = found.as_ref().and_then(|(account, _)| account.password_hash.clone());
        let is_right = self.passwords()?.verify(password, hash).await?;
        match found {
            Some((account, _)) if account.deactivated_at.is_some() => Err(AccountError::Deactivated),
            Some((account, user_id)) if is_right => Ok((account.user_sn, user_id)),
            _ => Err(AccountError::WrongPassword),
        }
    }

    async fn by_email(&self, address: &str) -> Result<Option<(Account, OwnedUserId)>, StorageError> {
        let Ok(address) = canonical_email(address) else { return Ok(None) };
        match self.database.threepid_owner_id(EMAIL, &address).await? {
            Some(user_id) => self.by_name(&user_id).await,
            None => Ok(None),
        }
    }

    async fn by_name(&self, name: &str) -> Result<Option<(Account, OwnedUserId)>, StorageError> {
        let Some(user_id) = self.user_id(name) else { return Ok(None) };
        if let Some(account) = self.database.account_by_user_id(user_id.as_str()).await? {
            return Ok(Some((account, user_id)));
        }
        let Some(lower_case) = self.user_id(&name.to_lowercase()) else { return Ok(None) };
        let account = self.database.account_by_user_id(lower_case.as_str()).await?;
        Ok(account.map(|account| (account, lower_case)))
    }

    /// The user ID that a name on this server stands for.
    fn user_id(&self, name: &str) -> Option<OwnedUserId> {
        let user_id = UserId::parse_with_server_name(name, &self.server_name).ok()?;
        (user_id.server_name() == self.server_name).then_some(user_id)
    }

    /// Whether a name stands for this user.
    pub(crate) fn is_name_of(&self, name: &str, user_id: &UserId) -> bool {
        let named = |name: &str| self.user_id(name).is_some_and(|named| named == user_id);
        named(name) || named(&name.to_lowercase())
    }

    /// Whether an identifier stands for the requester.
    pub(crate) async fn is_identifier_of(
        &self,
        identifier: &UserIdentifier,
        requester: &Requester,
    ) -> Result<bool, StorageError> {
        match (&identifier.user, &identifier.address) {
            (None, Some(address)) if identifier.medium.as_deref() == Some(EMAIL) => {
                let found = self.by_email(address).await?;
                Ok(found.is_some_and(|(account, _)| account.user_sn == requester.user_sn))
            }
            (None, Some(_)) => Ok(false),
            (name, _) => Ok(name.as_ref().is_none_or(|name| self.is_name_of(name, &requester.user_id))),
        }
    }

    /// Whether the password is the requester's.
    ///
    /// # Errors
    /// [`AccountError`].
    pub(crate) async fn is_password_of(&self, requester: &Requester, password: &str) -> Result<bool, AccountError> {
        let attempt = self.rate_limits.spend_by_user(Kind::ProofFailedAttempts, requester)?;
        let is_right = self.compare(requester.user_sn, password).await;
        match is_right {
            Ok(false) => attempt.keep(),
            _ => attempt.give_back(),
        }
        is_right
    }

    async fn compare(&self, user_sn: UserSn, password: &str) -> Result<bool, AccountError> {
        let account = self.database.account(user_sn).await?;
        let hash = account.and_then(|account| account.password_hash);
        Ok(self.passwords()?.verify(password, hash).await?)
    }

    /// Changes the requester's password, and if `log_out_others`, ends the sessions of all other devices.
    ///
    /// # Errors
    /// [`AccountError`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn change_password(
        &self,
        requester: &Requester,
        new: &str,
        log_out_others: bool,
    ) -> Result<(), AccountError> {
        let hash = self.passwords()?.hash(new).await?;
        self.database.set_password_hash(requester.user_sn, hash).await?;
        if log_out_others {
            self.sessions.delete_all_devices(requester.user_sn, requester.device_sn).await?;
        }
        Ok(())
    }

    /// Replaces the password of whoever has the e-mail address, which was confirmed for that; the confirmation is used up.
    /// If `log_out`, ends the sessions of all devices but `kept`.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn reset_password(
        &self,
        email: &ValidatedEmail,
        new: &str,
        log_out: bool,
        kept: Option<DeviceSn>,
    ) -> Result<(), AccountError> {
        let hash = self.passwords()?.hash(new).await?;
        let purpose = Purpose::PasswordReset.as_str();
        let reset = self.database.reset_password_hash(email.session_id.clone(), purpose, hash, self.clock.now());
        let user_sn = reset.await?.ok_or(AccountError::ConfirmationUsedUp)?;
        if log_out {
            self.sessions.delete_all_devices(user_sn, kept).await?;
        }
        Ok(())
    }

    /// Closes an account for good; nobody can have its user ID again. With `erase` the profile goes, too. The user leaves all
    /// rooms by a job, which is waited for, but not for long.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#account-management>
    ///
    /// # Errors
    /// [`AccountError`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn deactivate(&self, user_sn: UserSn, erase: bool) -> Result<(), AccountError> {
        let now = self.clock.now();
        let write = async move |tx: &mut Tx| {
            let revoked = tx.deactivate_account(user_sn, now, erase).await?;
            let job = match tx.is_in_any_room(user_sn, true).await? {
                true => Some(LeaveAllRooms { user_sn: user_sn.0 }.schedule(tx, now).await?),
                false => None,
            };
            Ok((revoked, job))
        };
        let (revoked, job) = self.database.write(write).await?;
        self.sessions.end(&revoked);
        if let Some(job_id) = job {
            self.jobs.settle(job_id, PATIENCE).await?;
        }
        Ok(())
    }

    fn passwords(&self) -> Result<&Passwords, AccountError> {
        self.passwords.as_deref().filter(|passwords| passwords.is_enabled()).ok_or(AccountError::PasswordsDisabled)
    }
}
