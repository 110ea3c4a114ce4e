//! `POST /_matrix/client/v3/knock/{roomIdOrAlias}`

use std::sync::Arc;

use axum::extract::State;
use replication::memberships::SharedMemberships;
use ruma::OwnedRoomOrAliasId;

use super::create::RoomAnswer;
use super::membership::Reason;
use super::via::Via;
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Path, Query, Unsuspended};

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias>
pub(crate) async fn knock(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(room): Path<OwnedRoomOrAliasId>,
    Query(via): Query<Via>,
    State(memberships): State<Arc<SharedMemberships>>,
    Json(body): Json<Reason>,
) -> ClientResult<Json<RoomAnswer>> {
    let room_id = memberships.knock(&requester, &room, via.servers(), body.reason).await?;
    Ok(Json(RoomAnswer { room_id }))
}
