//! `GET /_matrix/client/v3/joined_rooms`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::reading::RoomState;

use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, json_bytes};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms>
pub(crate) async fn joined_rooms(
    GuestOrUser(requester): GuestOrUser,
    State(room_state): State<Arc<RoomState>>,
) -> ClientResult<Response> {
    Ok(json_bytes(room_state.joined_rooms(&requester).await?))
}
