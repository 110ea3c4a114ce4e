//! `GET /_matrix/client/v3/keys/changes`

use std::sync::Arc;

use axum::extract::State;
use encryption::device_lists::DeviceLists;
use event_log::tokens::parse_token;
use homeserver_core::Position;
use serde::{Deserialize, Serialize};

use crate::client::error::ClientResult;
use crate::error::{ApiError, ApiResult};
use crate::extract::{GuestOrUser, Json, Query};

#[derive(Deserialize, Debug)]
pub(crate) struct Parameters {
    from: String,
    to: String,
}

#[derive(Serialize)]
pub(crate) struct ChangesAnswer {
    changed: Vec<Arc<str>>,
    left: Vec<Arc<str>>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges>
pub(crate) async fn changes(
    GuestOrUser(requester): GuestOrUser,
    Query(parameters): Query<Parameters>,
    State(device_lists): State<Arc<DeviceLists>>,
) -> ClientResult<Json<ChangesAnswer>> {
    let (from, to) = (position("from", &parameters.from)?, position("to", &parameters.to)?);
    let changes = device_lists.changes(requester.user_sn, from, to).await?;
    Ok(Json(ChangesAnswer { changed: changes.changed, left: changes.left }))
}

fn position(name: &str, token: &str) -> ApiResult<Position> {
    let unknown = || ApiError::invalid_param(format!("{name}: this is not a token of this server's /sync"));
    parse_token(token).ok_or_else(unknown)
}
