//! Paths that only the user they name may use.

use accounts::sessions::Requester;
use axum::extract::FromRequestParts;
use http::request::Parts;
use ruma::OwnedUserId;
use serde::de::DeserializeOwned;

use super::path::PathParameters;
use crate::error::ApiError;

/// How the specification spells the parameter.
const USER_ID: &str = "userId";

/// The requester, who must be the user that `{userId}` in the path names, and the other parameters of the path in their order. `A` is
/// [`Authenticated`](super::Authenticated), or [`GuestOrUser`](super::GuestOrUser) where guests may make the request. Another user's
/// path is answered with `M_FORBIDDEN`.
#[derive(Clone, Copy, Debug)]
pub struct OwnUser<A, T = ()>(pub A, pub T);

impl<A, T, S> FromRequestParts<S> for OwnUser<A, T>
where
    A: AsRef<Requester> + FromRequestParts<S, Rejection = ApiError> + Send,
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let who = A::from_request_parts(parts, state).await?;
        let parameters = PathParameters::of(parts, state).await?;
        let user_id: OwnedUserId = parameters.parse(|name| name == USER_ID)?;
        let others = parameters.parse(|name| name != USER_ID)?;
        if who.as_ref().user_id != user_id {
            return Err(ApiError::forbidden("userId: you can do this only for yourself"));
        }
        Ok(Self(who, others))
    }
}
