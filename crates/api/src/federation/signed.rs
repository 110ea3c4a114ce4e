use std::sync::Arc;

use accounts::asking::Shares;
use axum::extract::{FromRef, FromRequest, Request};
use federation::{Admitted, Gate};
use ruma::OwnedServerName;
use serde::de::DeserializeOwned;

use super::from_server::admit;
use crate::error::ApiError;
use crate::extract::{DEFAULT_LIMIT_BYTES, body, json};

/// The largest transaction: 50 PDUs and 100 EDUs of 64 KiB each.
pub(crate) const TRANSACTION_LIMIT_BYTES: usize = federation::MAX_SENT_BYTES;

/// Another server that has signed the request and its body, which is a JSON object of at most `LIMIT_BYTES`; an empty one counts as `{}`.
/// What `T` is read from is the text that was signed, byte for byte: `Box<RawValue>` has it.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>
pub(crate) struct Signed<T, const LIMIT_BYTES: usize = DEFAULT_LIMIT_BYTES> {
    /// The server.
    pub(crate) origin: OwnedServerName,
    /// The body.
    pub(crate) body: T,
    /// The server keeps its place among its requests until this one is answered.
    _admitted: Admitted,
}

impl<T, S, const LIMIT_BYTES: usize> FromRequest<S> for Signed<T, LIMIT_BYTES>
where
    T: DeserializeOwned,
    Arc<Gate>: FromRef<S>,
    Arc<Shares>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        // Nobody's body is read who does not even say who it is.
        Arc::<Gate>::from_ref(state).claims(request.headers())?;
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body, LIMIT_BYTES).await?;
        let mut admitted = admit(&parts, bytes, state).await?;
        let content = admitted.content.take();
        let body = json::read(content.as_ref().map_or(b"{}", |content| content.as_bytes()))?;
        Ok(Self { origin: admitted.server.clone(), body, _admitted: admitted })
    }
}
