//! `POST /_matrix/client/v3/rooms/{roomId}/upgrade`

use std::sync::Arc;

use axum::extract::State;
use rooms::{RoomCreation, Upgrade};
use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Path, Unsuspended};

#[derive(Deserialize)]
pub(crate) struct Body {
    new_version: String,
    additional_creators: Option<Vec<String>>,
}

#[derive(Serialize)]
pub(crate) struct Replacement {
    replacement_room: OwnedRoomId,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade>
pub(crate) async fn upgrade(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(room_id): Path<OwnedRoomId>,
    State(creation): State<Arc<RoomCreation>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Replacement>> {
    let Body { new_version, additional_creators } = body;
    let upgrade = Upgrade { new_version, additional_creators: additional_creators.unwrap_or_default() };
    let replacement_room = creation.upgrade(&requester, &room_id, &upgrade).await?;
    Ok(Json(Replacement { replacement_room }))
}
