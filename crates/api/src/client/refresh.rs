//! `POST /_matrix/client/v3/refresh`

use std::sync::Arc;

use accounts::sessions::Sessions;
use axum::extract::State;
use serde::Deserialize;

use super::session::TokenKeys;
use crate::client::error::ClientResult;
use crate::extract::Json;

#[derive(Deserialize)]
pub(super) struct Body {
    refresh_token: String,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh>
pub(super) async fn refresh(
    State(sessions): State<Arc<Sessions>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<TokenKeys>> {
    Ok(Json(sessions.refresh(&body.refresh_token).await?.into()))
}
