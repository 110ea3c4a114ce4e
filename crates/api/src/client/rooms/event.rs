//! `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::reading::History;
use ruma::{OwnedEventId, OwnedRoomId};

use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Path, json_bytes};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid>
pub(crate) async fn event(
    GuestOrUser(requester): GuestOrUser,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    State(history): State<Arc<History>>,
) -> ClientResult<Response> {
    Ok(json_bytes(history.event(&requester, &room_id, &event_id).await?))
}
