//! Third-party identifiers: e-mail addresses that users have proven to be theirs.
//!
//! A client asks for a mail ([`request_token`](ThirdPartyIdentifiers::request_token)), its reader confirms
//! ([`confirm`](ThirdPartyIdentifiers::confirm)), and the client then uses the session for what it was begun for: to register, to
//! set a new password, or to add the address. A session is good for one of these, because the mail says for which.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information>

mod address;
mod confirming;
mod error;
mod lookup_hash;
mod next_link;
mod requesting;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use homeserver_core::{Clock, UserSn};
use sha2::{Digest, Sha256};
use storage::{Database, StorageError, TokenHash, UserThreepid};

pub use self::address::canonical_email;
pub use self::confirming::LinkState;
pub use self::error::ThreepidError;
pub use self::lookup_hash::hashed_address;
pub use self::next_link::{link_host, link_origin};
pub use self::requesting::TokenRequest;
use crate::mail::MailKind;
use crate::sessions::Requester;
use crate::uia::ValidatedEmail;

/// The medium of e-mail addresses.
///
/// <https://spec.matrix.org/v1.19/appendices/#3pid-types>
pub const EMAIL: &str = "email";
/// How long a session can be used after its last mail, and again after it was confirmed.
pub(crate) const SESSION_AGE: Duration = Duration::from_secs(60 * 60);
/// Mails to one address within that time.
pub const MAX_MAILS: i64 = 10;
/// Tokens that were not sent, until a session ends.
pub const MAX_WRONG_TOKENS: i64 = 10;
/// Sessions at any one time; the oldest make place for new ones.
pub const MAX_SESSIONS: i64 = 10_000;
/// Third-party identifiers of one user.
pub const MAX_THREEPIDS: usize = 20;

/// What a confirmed address is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Making an account that has the address.
    Registration,
    /// Setting a new password for the account that has the address.
    PasswordReset,
    /// Adding the address to an account.
    AddAddress,
}

impl Purpose {
    /// The word for it that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.mail().as_str()
    }

    fn mail(self) -> MailKind {
        match self {
            Self::Registration => MailKind::Registration,
            Self::PasswordReset => MailKind::PasswordReset,
            Self::AddAddress => MailKind::AddAddress,
        }
    }
}

/// How addresses are validated.
#[derive(Clone, Debug)]
pub struct EmailValidation {
    /// Whether the answer to a request for a mail hides if an address has an account.
    pub hide_known_addresses: bool,
    /// Hosts that people may be sent on to after they confirmed.
    pub next_link_hosts: Vec<String>,
}

/// The third-party identifiers of this server's users.
pub struct ThirdPartyIdentifiers {
    database: Database,
    clock: Arc<dyn Clock>,
    /// None if the server sends no mail.
    validation: Option<EmailValidation>,
    begun: AtomicU32,
}

impl ThirdPartyIdentifiers {
    /// Third-party identifiers in `database`. Without `validation` no address can be validated.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>, validation: Option<EmailValidation>) -> Self {
        Self { database, clock, validation, begun: AtomicU32::new(0) }
    }

    /// Whether addresses can be validated.
    #[must_use]
    pub fn email_enabled(&self) -> bool {
        self.validation.is_some()
    }

    /// A user's third-party identifiers.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn of_user(&self, user_sn: UserSn) -> Result<Vec<UserThreepid>, StorageError> {
        self.database.user_threepids(user_sn).await
    }

    /// Adds the address of a confirmed session to the requester's account. The session is used up.
    ///
    /// # Errors
    /// [`ThreepidError::NotValidated`], [`ThreepidError::InUse`] or [`ThreepidError::TooMany`].
    pub async fn add(&self, requester: &Requester, session_id: &str, client_secret: &str) -> Result<(), ThreepidError> {
        let (now, user_sn) = (self.clock.now(), requester.user_sn);
        let (hash, purpose) = (token_hash(client_secret), Purpose::AddAddress.as_str());
        let session = self.database.validation_session_by_secret(session_id, hash, purpose, now).await?;
        let session_id = session.ok_or(ThreepidError::NotValidated)?.session_id;
        if self.of_user(user_sn).await?.len() >= MAX_THREEPIDS {
            return Err(ThreepidError::TooMany);
        }
        let added = self.database.write(async move |tx| {
            let Some(session) = tx.take_validation(&session_id, purpose, now).await? else { return Ok(None) };
            let validated_at = session.validated_at.unwrap_or(now);
            let threepid =
                UserThreepid { medium: EMAIL.to_owned(), address: session.address, validated_at, added_at: now };
            tx.add_threepid(user_sn, &threepid).await.map(Some)
        });
        match added.await? {
            Some(true) => Ok(()),
            Some(false) => Err(ThreepidError::InUse),
            None => Err(ThreepidError::NotValidated),
        }
    }

    /// Takes a third-party identifier from a user. One that they do not have is no mistake: then it is gone, too.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn delete(&self, user_sn: UserSn, medium: &str, address: &str) -> Result<(), StorageError> {
        let address = match canonical_email(address) {
            Ok(canonical) if medium == EMAIL => canonical,
            _ => address.to_owned(),
        };
        self.database.delete_threepid(user_sn, medium.to_owned(), address).await.map(drop)
    }

    /// Removes the sessions that have expired. Tells how many.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn prune(&self) -> Result<u64, StorageError> {
        self.database.prune_validation_sessions(self.clock.now(), MAX_SESSIONS).await
    }
}

/// The address of a validation session of `purpose` that was confirmed, if the client knows its secret.
pub(crate) async fn validated_email(
    database: &Database,
    clock: &dyn Clock,
    purpose: Purpose,
    session_id: &str,
    client_secret: &str,
) -> Result<Option<ValidatedEmail>, StorageError> {
    let (hash, now) = (token_hash(client_secret), clock.now());
    let session = database.validation_session_by_secret(session_id, hash, purpose.as_str(), now).await?;
    let confirmed = session.filter(|session| session.validated_at.is_some());
    Ok(confirmed.map(|session| ValidatedEmail { session_id: session.session_id, address: session.address }))
}

/// How a token, or a client's secret, is stored.
pub(crate) fn token_hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}
