//! `POST /_matrix/client/v3/keys/query`

use std::sync::Arc;

use axum::extract::State;
use encryption::keys::{Keys, QueryAnswer, WantedDevices};
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Json};

#[derive(Deserialize)]
pub(crate) struct Body {
    device_keys: WantedDevices,
    /// How long to wait for other servers, in milliseconds: none is asked.
    #[serde(default, rename = "timeout")]
    _timeout: Option<u64>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>
pub(crate) async fn query(
    GuestOrUser(requester): GuestOrUser,
    State(keys): State<Arc<Keys>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<QueryAnswer>> {
    Ok(Json(keys.query(&requester, body.device_keys).await?))
}
