//! `POST /_matrix/client/v3/rooms/{roomId}/` and `invite`, `leave`, `kick`, `ban`, `unban` or `forget`

use std::sync::Arc;

use axum::extract::State;
use replication::memberships::SharedMemberships;
use rooms::{ContentMap, Memberships};
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId};
use serde::Deserialize;

use super::address::Address;
use crate::Empty;
use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{Authenticated, GuestOrUser, Json, Path, Unsuspended};

#[derive(Deserialize)]
pub(crate) struct Reason {
    pub(super) reason: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    user_id: OwnedUserId,
    reason: Option<String>,
}

/// Either a user ID, or an address and the identity server that knows whose it is.
#[derive(Deserialize)]
pub(crate) struct Invitee {
    user_id: Option<OwnedUserId>,
    reason: Option<String>,
    id_server: Option<OwnedServerName>,
    id_access_token: Option<String>,
    medium: Option<String>,
    address: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite>
pub(crate) async fn invite(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(room_id): Path<OwnedRoomId>,
    State(memberships): State<Arc<SharedMemberships>>,
    Json(body): Json<Invitee>,
) -> ClientResult<Json<Empty>> {
    let content: ContentMap = body.reason.map(|reason| ("reason".to_owned(), reason.into())).into_iter().collect();
    if let Some(user_id) = body.user_id {
        memberships.invite(&requester, &room_id, &user_id, content).await?;
        return Ok(Json(Empty {}));
    }
    let missing = |key| ApiError::bad_json(format!("{key}: missing field"));
    let address = Address {
        address: body.address.ok_or_else(|| missing("user_id"))?,
        medium: body.medium.ok_or_else(|| missing("medium"))?,
        id_server: body.id_server.ok_or_else(|| missing("id_server"))?,
        id_access_token: body.id_access_token.ok_or_else(|| missing("id_access_token"))?,
    };
    memberships.invite_address(&requester, &room_id, &address.into(), content).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave>
pub(crate) async fn leave(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    State(memberships): State<Arc<SharedMemberships>>,
    Json(body): Json<Reason>,
) -> ClientResult<Json<Empty>> {
    memberships.leave(&requester, &room_id, body.reason).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick>
pub(crate) async fn kick(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(room_id): Path<OwnedRoomId>,
    State(memberships): State<Arc<Memberships>>,
    Json(body): Json<Target>,
) -> ClientResult<Json<Empty>> {
    memberships.kick(&requester, &room_id, &body.user_id, body.reason).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban>
pub(crate) async fn ban(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(room_id): Path<OwnedRoomId>,
    State(memberships): State<Arc<Memberships>>,
    Json(body): Json<Target>,
) -> ClientResult<Json<Empty>> {
    memberships.ban(&requester, &room_id, &body.user_id, body.reason).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban>
pub(crate) async fn unban(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(room_id): Path<OwnedRoomId>,
    State(memberships): State<Arc<Memberships>>,
    Json(body): Json<Target>,
) -> ClientResult<Json<Empty>> {
    memberships.unban(&requester, &room_id, &body.user_id, body.reason).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget>
pub(crate) async fn forget(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    State(memberships): State<Arc<Memberships>>,
) -> ClientResult<Json<Empty>> {
    memberships.forget(&requester, &room_id).await?;
    Ok(Json(Empty {}))
}
