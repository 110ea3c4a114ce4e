//! What users cannot do while their account is suspended.

use accounts::authentication::AccessError;
use accounts::sessions::Requester;
use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::error::ApiError;

/// The user who makes the request, if the account is not suspended. `A` is [`Authenticated`](super::Authenticated), or
/// [`GuestOrUser`](super::GuestOrUser) where guests may make the request.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#account-suspension>
#[derive(Clone, Copy, Debug)]
pub struct Unsuspended<A>(pub A);

impl<A: AsRef<Requester>> AsRef<Requester> for Unsuspended<A> {
    fn as_ref(&self) -> &Requester {
        self.0.as_ref()
    }
}

impl<A, S> FromRequestParts<S> for Unsuspended<A>
where
    A: AsRef<Requester> + FromRequestParts<S, Rejection = ApiError> + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let who = A::from_request_parts(parts, state).await?;
        if who.as_ref().is_suspended { Err(AccessError::Suspended.into()) } else { Ok(Self(who)) }
    }
}
