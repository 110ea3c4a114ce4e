//! Who makes a request. Every extractor here asks the [`Authenticator`], and nothing else reads an access token.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use accounts::asking::Asker;
use accounts::authentication::{Access, AccessError, Authenticator, Credentials};
use accounts::sessions::{AuthenticationError, Requester};
use axum::extract::{FromRef, FromRequestParts};
use http::header::AUTHORIZATION;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::ClientAddress;
use crate::error::ApiError;

/// The user who makes the request. Guests are refused: an endpoint that the specification opens to them takes [`GuestOrUser`].
///
/// <https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens>
#[derive(Clone, Debug)]
pub struct Authenticated(pub Requester);

/// The user or guest who makes the request.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#guest-access>
#[derive(Clone, Debug)]
pub struct GuestOrUser(pub Requester);

/// The user or guest who makes the request, also if the account is locked: to log out.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#account-locking>
#[derive(Clone, Debug)]
pub struct LockedOrNot(pub Requester);

/// The user or guest who makes the request, or nobody if it carries no access token. A bad token is an error here too.
#[derive(Clone, Debug)]
pub struct OptionalAuthenticated(pub Option<Requester>);

/// On whose behalf other servers may be asked: the user or guest who makes the request, or an address if it carries no access token
/// or a bad one.
#[derive(Clone, Debug)]
pub struct AskedBy {
    requester: Option<Requester>,
    address: Option<IpAddr>,
}

impl AskedBy {
    /// On whose behalf other servers are asked.
    pub fn asker(&self) -> Asker<'_> {
        self.requester.as_ref().map_or(Asker::Address(self.address), Asker::User)
    }
}

/// The administrator of this server who makes the request.
#[derive(Clone, Debug)]
pub struct Administrator(pub Requester);

impl AsRef<Requester> for Authenticated {
    fn as_ref(&self) -> &Requester {
        &self.0
    }
}

impl AsRef<Requester> for GuestOrUser {
    fn as_ref(&self) -> &Requester {
        &self.0
    }
}

impl<S> FromRequestParts<S> for Authenticated
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(admit(parts, state, Access::Users).await?))
    }
}

impl<S> FromRequestParts<S> for GuestOrUser
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(admit(parts, state, Access::GuestsToo).await?))
    }
}

impl<S> FromRequestParts<S> for LockedOrNot
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(admit(parts, state, Access::LockedToo).await?))
    }
}

impl<S> FromRequestParts<S> for OptionalAuthenticated
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match admit(parts, state, Access::GuestsToo).await {
            Err(AccessError::MissingToken) => Ok(Self(None)),
            admitted => Ok(Self(Some(admitted?))),
        }
    }
}

impl<S> FromRequestParts<S> for AskedBy
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let requester = match admit(parts, state, Access::GuestsToo).await {
            Err(error) if error.is_anonymous() => None,
            admitted => Some(admitted?),
        };
        Ok(Self { requester, address: ClientAddress::of(parts).0 })
    }
}

impl<S> FromRequestParts<S> for Administrator
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(admit(parts, state, Access::Administrators).await?))
    }
}

async fn admit<S>(parts: &Parts, state: &S, access: Access) -> Result<Requester, AccessError>
where
    Arc<Authenticator>: FromRef<S>,
{
    let authenticator = Arc::<Authenticator>::from_ref(state);
    let requester = authenticator.admit(credentials(parts).as_ref(), access).await?;
    let device_id = requester.device_id.as_ref().map(|device_id| device_id.as_str());
    telemetry::record_requester(requester.user_id.as_str(), device_id);
    Ok(requester)
}

fn credentials(parts: &Parts) -> Option<Credentials<'_>> {
    Some(Credentials { access_token: access_token(parts)?, address: ClientAddress::of(parts).0 })
}

fn access_token(parts: &Parts) -> Option<Cow<'_, str>> {
    if let Some(value) = parts.headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| Cow::Borrowed(token.trim()));
    }
    let query = parts.uri.query()?;
    let token = query.split('&').find_map(|pair| pair.strip_prefix("access_token="))?;
    Some(percent_decode_str(token).decode_utf8_lossy())
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::MissingToken => Self::missing_token(error.to_string()),
            AccessError::Token(error) => error.into(),
            AccessError::Locked => Self::user_locked(error.to_string()).with_field("soft_logout", true),
            AccessError::Suspended => Self::user_suspended(error.to_string()),
            AccessError::Guest => Self::guest_access_forbidden(error.to_string()),
            AccessError::NotAdministrator => Self::forbidden(error.to_string()),
        }
    }
}

impl From<AuthenticationError> for ApiError {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::UnknownToken => Self::unknown_token("Unknown access token: log in again", false),
            AuthenticationError::ExpiredToken => Self::unknown_token("The access token has expired: refresh it", true),
            AuthenticationError::Storage(error) => error.into(),
        }
    }
}
