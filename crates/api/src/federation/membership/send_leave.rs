//! `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`, and the older form of it

use std::sync::Arc;

use axum::extract::State;
use replication::resident::Resident;
use ruma::{OwnedEventId, OwnedRoomId};
use serde_json::value::RawValue;

use crate::Empty;
use crate::extract::{Json, Path};
use crate::federation::error::FederationResult;
use crate::federation::signed::Signed;

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid>
pub(crate) async fn send_leave(
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    State(resident): State<Arc<Resident>>,
    server: Signed<Box<RawValue>>,
) -> FederationResult<Json<Empty>> {
    resident.accept_leave(&server.origin, (&*room_id, &*event_id), &server.body).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_leaveroomideventid>
pub(crate) async fn send_leave_v1(
    path: Path<(OwnedRoomId, OwnedEventId)>,
    resident: State<Arc<Resident>>,
    server: Signed<Box<RawValue>>,
) -> FederationResult<Json<(u16, Empty)>> {
    let Json(empty) = send_leave(path, resident, server).await?;
    Ok(Json((200, empty)))
}
