//! Who makes a request: the one place that turns what a request carries into a [`Requester`].

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use crate::sessions::{AuthenticationError, Requester, Sessions};

/// What a request carries to show who makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials<'a> {
    /// The access token, from the header or from the query.
    pub access_token: Cow<'a, str>,
    /// Where the client is, if that is known. The list of devices shows it.
    pub address: Option<IpAddr>,
}

/// Who may make a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Users and guests, also those whose accounts are locked.
    LockedToo,
    /// Users and guests.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#guest-access>
    GuestsToo,
    /// Users, but not guests.
    Users,
    /// Administrators of this server.
    Administrators,
}

/// Why a requester may not make a request.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The request carries no access token.
    #[error("Missing access token")]
    MissingToken,
    /// The access token is refused.
    #[error(transparent)]
    Token(#[from] AuthenticationError),
    /// The account is locked.
    #[error("This account has been locked")]
    Locked,
    /// The account is suspended.
    #[error("You cannot do this while your account is suspended")]
    Suspended,
    /// The requester is a guest.
    #[error("Guests may not do this: register an account")]
    Guest,
    /// The requester does not administer this server.
    #[error("You are not a server admin")]
    NotAdministrator,
}

impl AccessError {
    /// Whether the request shows no requester at all: it has no access token, or one that is not valid.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        match self {
            Self::MissingToken => true,
            Self::Token(error) => !matches!(error, AuthenticationError::Storage(_)),
            Self::Locked | Self::Suspended | Self::Guest | Self::NotAdministrator => false,
        }
    }
}

/// Finds out who makes a request, and whether they may.
pub struct Authenticator {
    sessions: Arc<Sessions>,
}

impl Authenticator {
    /// Access tokens are those of `sessions`.
    #[must_use]
    pub fn new(sessions: Arc<Sessions>) -> Self {
        Self { sessions }
    }

    /// The requester, who must be one that `access` admits.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn admit(&self, credentials: Option<&Credentials<'_>>, access: Access) -> Result<Requester, AccessError> {
        let credentials = credentials.ok_or(AccessError::MissingToken)?;
        let requester = self.sessions.authenticate(&credentials.access_token, credentials.address).await?;
        match access {
            Access::LockedToo => Ok(requester),
            _ if requester.is_locked => Err(AccessError::Locked),
            Access::Users if requester.is_guest => Err(AccessError::Guest),
            Access::Administrators if !requester.is_admin => Err(AccessError::NotAdministrator),
            _ => Ok(requester),
        }
    }
}
