//! `GET /_matrix/client/v3/rooms/{roomId}/joined_members`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::reading::RoomState;
use ruma::OwnedRoomId;

use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Path, json_bytes};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members>
pub(crate) async fn joined_members(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    State(room_state): State<Arc<RoomState>>,
) -> ClientResult<Response> {
    Ok(json_bytes(room_state.joined_members(&requester, &room_id).await?))
}
