//! `POST /_matrix/client/v3/keys/claim`

use std::sync::Arc;

use axum::extract::State;
use encryption::keys::{ClaimAnswer, Keys, WantedKeys};
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Json};

#[derive(Deserialize)]
pub(crate) struct Body {
    one_time_keys: WantedKeys,
    /// How long to wait for other servers, in milliseconds: none is asked.
    #[serde(default, rename = "timeout")]
    _timeout: Option<u64>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim>
pub(crate) async fn claim(
    GuestOrUser(_requester): GuestOrUser,
    State(keys): State<Arc<Keys>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<ClaimAnswer>> {
    Ok(Json(keys.claim(body.one_time_keys).await?))
}
