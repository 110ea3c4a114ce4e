//! Who makes a request.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use accounts::asking::Asker;
use accounts::sessions::{AuthenticationError, Requester, Sessions};
use axum::extract::{FromRef, FromRequestParts};
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::ClientAddress;
use crate::error::{ApiError, ApiResult};

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

impl<S> FromRequestParts<S> for Authenticated
where
    Arc<Sessions>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let requester = authenticate(parts, state).await?.ok_or_else(missing_token)?;
        if requester.is_guest {
            return Err(ApiError::guest_access_forbidden("Guests may not do this: register an account"));
        }
        Ok(Self(requester))
    }
}

impl<S> FromRequestParts<S> for GuestOrUser
where
    Arc<Sessions>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        authenticate(parts, state).await?.map(Self).ok_or_else(missing_token)
    }
}

impl<S> FromRequestParts<S> for OptionalAuthenticated
where
    Arc<Sessions>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        authenticate(parts, state).await.map(Self)
    }
}

impl<S> FromRequestParts<S> for AskedBy
where
    Arc<Sessions>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let requester = match authenticate(parts, state).await {
            Err(error) if error.status() == StatusCode::UNAUTHORIZED => None,
            requester => requester?,
        };
        Ok(Self { requester, address: ClientAddress::of(parts).0 })
    }
}

impl<S> FromRequestParts<S> for Administrator
where
    Arc<Sessions>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let requester = authenticate(parts, state).await?.ok_or_else(missing_token)?;
        if !requester.is_admin {
            return Err(ApiError::forbidden("You are not a server admin"));
        }
        Ok(Self(requester))
    }
}

fn missing_token() -> ApiError {
    ApiError::missing_token("Missing access token")
}

async fn authenticate<S>(parts: &Parts, state: &S) -> ApiResult<Option<Requester>>
where
    Arc<Sessions>: FromRef<S>,
{
    let Some(token) = access_token(parts) else { return Ok(None) };
    let sessions = Arc::<Sessions>::from_ref(state);
    let requester = sessions.authenticate(&token, ClientAddress::of(parts).0).await?;
    telemetry::record_requester(
        requester.user_id.as_str(),
        requester.device_id.as_ref().map(|device_id| device_id.as_str()),
    );
    Ok(Some(requester))
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

impl From<AuthenticationError> for ApiError {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::UnknownToken => Self::unknown_token("Unknown access token: log in again", false),
            AuthenticationError::ExpiredToken => Self::unknown_token("The access token has expired: refresh it", true),
            AuthenticationError::Storage(error) => error.into(),
        }
    }
}
