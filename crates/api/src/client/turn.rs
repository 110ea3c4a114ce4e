//! `GET /_matrix/client/v3/voip/turnServer`

use std::sync::Arc;

use accounts::turn::{Turn, TurnCredentials};
use axum::extract::State;
use serde::Serialize;

use crate::Empty;
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Json};

/// Without TURN servers the answer is an empty object.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum TurnServers {
    Some(TurnCredentials),
    None(Empty),
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver>
pub(super) async fn turn_server(
    GuestOrUser(requester): GuestOrUser,
    State(turn): State<Arc<Turn>>,
) -> ClientResult<Json<TurnServers>> {
    Ok(Json(turn.credentials(&requester).map_or(TurnServers::None(Empty {}), TurnServers::Some)))
}
