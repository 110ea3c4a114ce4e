use std::sync::Arc;

use accounts::asking::{Asker, Shares};
use axum::extract::{FromRef, FromRequestParts};
use bytes::Bytes;
use federation::{Admitted, Gate, Incoming};
use http::request::Parts;
use ruma::OwnedServerName;

use crate::error::ApiError;
use crate::extract::ClientAddress;

/// Another server that has signed the request, which has no body. Its keys may have to be asked for first, which counts for the
/// address that the request comes from: nothing is proved before.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>
pub(crate) struct FromServer {
    /// The server.
    pub(crate) origin: OwnedServerName,
    /// The server keeps its place among its requests until this one is answered.
    _admitted: Admitted,
}

impl<S> FromRequestParts<S> for FromServer
where
    Arc<Gate>: FromRef<S>,
    Arc<Shares>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let admitted = admit(parts, Bytes::new(), state).await?;
        Ok(Self { origin: admitted.server.clone(), _admitted: admitted })
    }
}

/// Checks who makes the request with this body.
pub(super) async fn admit<S>(parts: &Parts, body: Bytes, state: &S) -> Result<Admitted, ApiError>
where
    Arc<Gate>: FromRef<S>,
    Arc<Shares>: FromRef<S>,
{
    let gate = Arc::<Gate>::from_ref(state);
    // What was signed: without the server's name, which some clients send too.
    let uri = parts.uri.path_and_query().map_or("/", |uri| uri.as_str());
    let claims = gate.claims(&parts.headers)?;
    let share = match gate.must_ask(&claims).await {
        true => Some(Arc::<Shares>::from_ref(state).enter(Asker::Address(ClientAddress::of(parts).0)).await?),
        false => None,
    };
    let admitted = gate.admit(Incoming { method: parts.method.as_str(), uri, body }, &claims).await?;
    drop(share);
    Ok(admitted)
}
