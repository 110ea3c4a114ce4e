//! `POST /_matrix/client/v3/knock/{roomIdOrAlias}`

use std::sync::Arc;

use axum::extract::State;
use rooms::Memberships;
use ruma::OwnedRoomOrAliasId;

use super::create::RoomAnswer;
use super::membership::Reason;
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Path};

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias>
pub(crate) async fn knock(
    Authenticated(requester): Authenticated,
    Path(room): Path<OwnedRoomOrAliasId>,
    State(memberships): State<Arc<Memberships>>,
    Json(body): Json<Reason>,
) -> ClientResult<Json<RoomAnswer>> {
    let room_id = memberships.knock(&requester, &room, body.reason).await?;
    Ok(Json(RoomAnswer { room_id }))
}
