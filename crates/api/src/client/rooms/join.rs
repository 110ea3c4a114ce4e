//! `POST /_matrix/client/v3/join/{roomIdOrAlias}` and `POST /_matrix/client/v3/rooms/{roomId}/join`

use std::sync::Arc;

use axum::extract::State;
use replication::memberships::SharedMemberships;
use ruma::{OwnedRoomId, OwnedRoomOrAliasId};
use serde_json::{Map, Value};

use super::create::RoomAnswer;
use super::via::Via;
use crate::client::error::ClientResult;
use crate::error::{ApiError, ApiResult};
use crate::extract::{GuestOrUser, Json, Path, Query, Unsuspended};

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>
pub(crate) async fn join_by_id_or_alias(
    Unsuspended(GuestOrUser(requester)): Unsuspended<GuestOrUser>,
    Path(room): Path<OwnedRoomOrAliasId>,
    Query(via): Query<Via>,
    State(memberships): State<Arc<SharedMemberships>>,
    Json(content): Json<Map<String, Value>>,
) -> ClientResult<Json<RoomAnswer>> {
    check(&content)?;
    let via = via.servers();
    // It goes on if the client does not wait for it: another server may have let the user in by then.
    let joining = tokio::spawn(async move { memberships.join(&requester, &room, via, content).await });
    let room_id = joining.await.map_err(|_| ApiError::unavailable("The join was interrupted"))??;
    Ok(Json(RoomAnswer { room_id }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin>
pub(crate) async fn join(
    requester: Unsuspended<GuestOrUser>,
    Path(room_id): Path<OwnedRoomId>,
    via: Query<Via>,
    memberships: State<Arc<SharedMemberships>>,
    content: Json<Map<String, Value>>,
) -> ClientResult<Json<RoomAnswer>> {
    join_by_id_or_alias(requester, Path(room_id.into()), via, memberships, content).await
}

/// Other keys than these go into the member event as they are.
fn check(content: &Map<String, Value>) -> ApiResult<()> {
    for key in ["reason", "displayname", "avatar_url"] {
        if content.get(key).is_some_and(|value| !value.is_string() && !value.is_null()) {
            return Err(ApiError::bad_json(format!("{key}: must be a string")));
        }
    }
    if content.get("third_party_signed").is_some_and(|signed| !signed.is_null()) {
        return Err(ApiError::forbidden("Invitations by identity servers are not supported"));
    }
    Ok(())
}
