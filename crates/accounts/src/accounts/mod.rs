//! Accounts that exist: proving to be their owner, changing the password, and closing them.

mod operator;

use std::sync::Arc;

use homeserver_core::{Clock, DeviceSn, UserSn};
use ruma::{OwnedServerName, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use storage::{Account, Database, JobId, LogOut, NewPasswordHash, StorageError, Tx};
use tasks::queue::{Job as _, JobQueue};

pub use self::operator::Listed;
use crate::jobs::{ForgetUploadNames, LeaveAllRooms, PATIENCE};
use crate::passwords::{PasswordError, Passwords};
use crate::rate_limits::{LimitExceeded, LimitedAction, RateLimits};
use crate::registration::OtherServer;
use crate::sessions::{CheckedDevice, IssuedTokens, Requester, Sessions};
use crate::threepids::{EMAIL, Purpose, canonical_email};
use crate::uia::{Authorisation, NewPassword, UserIdentifier, ValidatedEmail};

/// Shows that somebody knows the password of an account, as long as it has this password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct PasswordProof {
    /// Whose account it is.
    pub user_sn: UserSn,
    /// The user's ID.
    pub user_id: OwnedUserId,
    pub(crate) password_hash: String,
}

/// Why something could not be done with an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The user does not exist, has no password, or has another one.
    #[error("Wrong user name or password")]
    WrongPassword,
    /// The password was right when it was compared, and has been changed since.
    #[error("The password has been changed meanwhile")]
    PasswordChanged,
    /// The account has been closed.
    #[error("This account has been deactivated")]
    Deactivated,
    /// There is no such account.
    #[error("There is no such user on this server")]
    NoSuchUser,
    /// The operator names a user of another server.
    #[error(transparent)]
    OtherServer(#[from] OtherServer),
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
    pub async fn by_password(&self, name: &str, password: &str) -> Result<PasswordProof, AccountError> {
        let lower_case = name.to_lowercase();
        let key = match self.user_id(&lower_case) {
            Some(user_id) => self.rate_limits.account(user_id.as_str()),
            None => self.rate_limits.account(&lower_case),
        };
        // Spent before it is known whether the attempt fails: many at once do not get more guesses than one after the other.
        let attempt = self.rate_limits.spend(LimitedAction::LoginFailedAttempts, key, None)?;
        let proved = self.prove(name, password).await;
        if matches!(proved, Err(AccountError::WrongPassword | AccountError::Deactivated)) {
            attempt.keep();
            return proved;
        }
        attempt.give_back();
        let proof = proved?;
        self.rate_limits.spend(LimitedAction::LoginAccount, key, None)?.keep();
        Ok(proof)
    }

    /// As [`by_password`](Self::by_password), for the user who has this e-mail address. Wrong passwords count against the account,
    /// whichever way it is named.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn by_email_and_password(&self, address: &str, password: &str) -> Result<PasswordProof, AccountError> {
        let owner = match canonical_email(address) {
            Ok(address) => self.database.threepid_owner_id(EMAIL, &address).await?,
            Err(_) => None,
        };
        // It takes the same time to find that nobody has the address.
        self.by_password(owner.as_deref().unwrap_or(address), password).await
    }

    async fn prove(&self, name: &str, password: &str) -> Result<PasswordProof, AccountError> {
        let found = self.by_name(name).await?;
        let hash = found.as_ref().and_then(|(account, _)| account.password_hash.clone());
        let is_right = self.passwords()?.verify(password, hash.clone()).await?;
        match (found, hash) {
            (Some((account, _)), _) if account.deactivated_at.is_some() => Err(AccountError::Deactivated),
            (Some((account, user_id)), Some(password_hash)) if is_right => {
                Ok(PasswordProof { user_sn: account.user_sn, user_id, password_hash })
            }
            _ => Err(AccountError::WrongPassword),
        }
    }

    /// Opens a session for a user who knows the password. A device that the user had before loses its earlier tokens.
    ///
    /// # Errors
    /// [`AccountError::PasswordChanged`] if the account has been closed meanwhile, or got another password.
    pub async fn log_in(&self, proof: &PasswordProof, device: &CheckedDevice) -> Result<IssuedTokens, AccountError> {
        let opened = self.sessions.open(proof.user_sn, &proof.password_hash, device).await?;
        opened.ok_or(AccountError::PasswordChanged)
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

    /// The proof that the requester knows the password; `None` if it is another one.
    ///
    /// # Errors
    /// [`AccountError`].
    pub(crate) async fn proof_of(
        &self,
        requester: &Requester,
        password: &str,
    ) -> Result<Option<PasswordProof>, AccountError> {
        let attempt = self.rate_limits.spend_by_user(LimitedAction::ProofFailedAttempts, requester)?;
        let proof = self.compare(requester, password).await;
        match proof {
            Ok(None) => attempt.keep(),
            _ => attempt.give_back(),
        }
        proof
    }

    async fn compare(&self, requester: &Requester, password: &str) -> Result<Option<PasswordProof>, AccountError> {
        let account = self.database.account(requester.user_sn).await?;
        let hash = account.and_then(|account| account.password_hash);
        let is_right = self.passwords()?.verify(password, hash.clone()).await?;
        let (user_sn, user_id) = (requester.user_sn, requester.user_id.clone());
        Ok(hash.filter(|_| is_right).map(|password_hash| PasswordProof { user_sn, user_id, password_hash }))
    }

    /// Whether a hash that was made here is of this password. Not for an account's: that is counted.
    pub(crate) async fn is_hash_of(&self, password: &str, hash: Option<String>) -> Result<bool, AccountError> {
        Ok(self.passwords()?.verify(password, hash).await?)
    }

    /// Refuses a password that a user must not choose.
    ///
    /// # Errors
    /// [`AccountError::Password`] with what is wrong with it, or [`AccountError::PasswordsDisabled`].
    pub async fn check_new_password(&self, password: &str) -> Result<(), AccountError> {
        Ok(self.passwords()?.check(password).await?)
    }

    /// The hash of a password that is to be set.
    pub(crate) async fn hash(&self, new: NewPassword) -> Result<String, AccountError> {
        match new {
            NewPassword::Hashed(hash) => Ok(hash),
            NewPassword::Plain(password) => Ok(self.passwords()?.hash(&password).await?),
        }
    }

    /// Changes the requester's password, and if `log_out_others`, ends the sessions of all other devices.
    ///
    /// # Errors
    /// [`AccountError`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn change_password(
        &self,
        requester: &Requester,
        authorisation: &Authorisation,
        new: NewPassword,
        log_out_others: bool,
    ) -> Result<(), AccountError> {
        let proof = authorisation.password.as_ref().ok_or(AccountError::WrongPassword)?;
        let kept = if log_out_others { LogOut::AllBut(requester.device_sn) } else { LogOut::Nobody };
        let new = self.new_password_hash(authorisation, new, kept).await?;
        let known = Some(proof.password_hash.clone());
        let revoked = self.database.change_password_hash(requester.user_sn, known, new).await?;
        self.sessions.end(&revoked.ok_or(AccountError::PasswordChanged)?);
        Ok(())
    }

    /// Replaces the password of the account with the confirmed e-mail address, and uses up the confirmation.
    /// If `log_out`, ends the sessions of all devices but `kept`.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn reset_password(
        &self,
        email: &ValidatedEmail,
        authorisation: &Authorisation,
        new: NewPassword,
        log_out: bool,
        kept: Option<DeviceSn>,
    ) -> Result<(), AccountError> {
        let log_out = if log_out { LogOut::AllBut(kept) } else { LogOut::Nobody };
        let new = self.new_password_hash(authorisation, new, log_out).await?;
        let purpose = Purpose::PasswordReset.as_str();
        let revoked = self.database.reset_password_hash(email.session_id.clone(), purpose, new).await?;
        self.sessions.end(&revoked.ok_or(AccountError::ConfirmationUsedUp)?);
        Ok(())
    }

    async fn new_password_hash(
        &self,
        authorisation: &Authorisation,
        new: NewPassword,
        log_out: LogOut,
    ) -> Result<NewPasswordHash, AccountError> {
        let hash = self.hash(new).await?;
        let done = |finishing: &crate::uia::Finishing| finishing.outcome(Some(&hash), &Value::Object(Map::new()));
        let authorised_in = authorisation.finishing.as_ref().map(done).transpose()?;
        Ok(NewPasswordHash { hash, log_out, authorised_in, now: self.clock.now() })
    }

    /// Closes an account for good, as somebody who knows its password wishes; nobody can have its user ID again. With `erase` goes
    /// what the user has set, and newcomers to the user's rooms see redacted events. The user leaves all rooms by a job, which is
    /// waited for, but not for long.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#account-management>
    ///
    /// # Errors
    /// [`AccountError`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn deactivate(&self, authorisation: &Authorisation, erase: bool) -> Result<(), AccountError> {
        let proof = authorisation.password.as_ref().ok_or(AccountError::WrongPassword)?;
        let jobs = self.close(proof.user_sn, Some(proof.password_hash.clone()), erase).await?;
        for job_id in jobs {
            self.jobs.settle(job_id, PATIENCE).await?;
        }
        Ok(())
    }

    /// Closes an account, which must have the password of this hash if one is given. Returns the jobs of what follows.
    async fn close(
        &self,
        user_sn: UserSn,
        password_hash: Option<String>,
        erase: bool,
    ) -> Result<Vec<JobId>, AccountError> {
        let now = self.clock.now();
        let write = async move |tx: &mut Tx| {
            tx.note_account_change(user_sn).await?;
            if let Some(hash) = &password_hash
                && !tx.lock_password_hash(user_sn, hash).await?
            {
                return Ok(None);
            }
            let revoked = tx.deactivate_account(user_sn, now, erase).await?;
            let mut jobs = Vec::new();
            if tx.is_in_any_room(user_sn, true).await? {
                jobs.push(LeaveAllRooms { user_sn: user_sn.0 }.schedule(tx, now).await?);
            }
            if erase {
                jobs.push(ForgetUploadNames { user_sn: user_sn.0 }.schedule(tx, now).await?);
            }
            Ok(Some((revoked, jobs)))
        };
        let (revoked, jobs) = self.database.write(write).await?.ok_or(AccountError::PasswordChanged)?;
        self.sessions.end(&revoked);
        Ok(jobs)
    }

    fn passwords(&self) -> Result<&Passwords, AccountError> {
        self.passwords.as_deref().filter(|passwords| passwords.is_enabled()).ok_or(AccountError::PasswordsDisabled)
    }
}
