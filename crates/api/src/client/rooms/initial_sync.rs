//! `GET /_matrix/client/v3/rooms/{roomId}/initialSync` and `GET /_matrix/client/v3/events/{eventId}`, for old clients

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::reading::RoomSnapshots;
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Path, Query, json_bytes};

#[derive(Deserialize, Debug)]
pub(crate) struct Parameters {
    limit: Option<u64>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>
pub(crate) async fn room(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
    State(snapshots): State<Arc<RoomSnapshots>>,
) -> ClientResult<Response> {
    Ok(json_bytes(snapshots.room(&requester, &room_id, parameters.limit).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid>
pub(crate) async fn event(
    GuestOrUser(requester): GuestOrUser,
    Path(event_id): Path<OwnedEventId>,
    State(snapshots): State<Arc<RoomSnapshots>>,
) -> ClientResult<Response> {
    Ok(json_bytes(snapshots.event(&requester, &event_id).await?))
}
