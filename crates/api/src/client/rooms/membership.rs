//! `POST /_matrix/client/v3/rooms/{roomId}/` and `invite`, `leave`, `kick`, `ban`, `unban` or `forget`

use std::sync::Arc;

use axum::extract::State;
use replication::memberships::SharedMemberships;
use rooms::{ContentMap, Memberships};
use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde::de::IgnoredAny;

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

/// Either a user ID, or an address that only an identity server can make one of.
#[derive(Deserialize)]
pub(crate) struct Invitee {
    user_id: Option<OwnedUserId>,
    reason: Option<String>,
    address: Option<IgnoredAny>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite>
pub(crate) async fn invite(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(room_id): Path<OwnedRoomId>,
    State(memberships): State<Arc<SharedMemberships>>,
    Json(body): Json<Invitee>,
) -> ClientResult<Json<Empty>> {
    let Some(user_id) = body.user_id else {
        let error = match body.address {
            Some(_) => ApiError::forbidden(
                "Nobody can be invited by e-mail address or telephone number: this server uses no identity server",
            ),
            None => ApiError::bad_json("user_id: missing field"),
        };
        return Err(error.into());
    };
    let content: ContentMap = body.reason.map(|reason| ("reason".to_owned(), reason.into())).into_iter().collect();
    memberships.invite(&requester, &room_id, &user_id, content).await?;
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
