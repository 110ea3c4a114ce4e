//! `PUT` and `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`

use std::sync::Arc;

use axum::extract::State;
use homeserver_core::RoomSn;
use ruma::OwnedUserId;
use serde_json::{Map, Value};
use services::profiles::Profiles;
use services::rate_limits::{Kind, RateLimits};
use services::rooms::Memberships;
use services::sessions::Requester;

use crate::Empty;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Authenticated, Json, Path};

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname>
pub(crate) async fn set(
    Authenticated(requester): Authenticated,
    Path((user_id, field)): Path<(OwnedUserId, String)>,
    State(profiles): State<Arc<Profiles>>,
    State(memberships): State<Arc<Memberships>>,
    State(rate_limits): State<Arc<RateLimits>>,
    Json(body): Json<Map<String, Value>>,
) -> ApiResult<Json<Empty>> {
    check_owner(&requester, &user_id)?;
    let value = body.get(&field).ok_or_else(|| ApiError::missing_param(format!("{field}: missing field")))?;
    let spent = rate_limits.spend_by_user(Kind::Message, &requester)?;
    let rooms = spent.settle(profiles.set(requester.user_sn, &field, value).await)?;
    tell_rooms(&profiles, memberships, requester, rooms).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname>
pub(crate) async fn remove(
    Authenticated(requester): Authenticated,
    Path((user_id, field)): Path<(OwnedUserId, String)>,
    State(profiles): State<Arc<Profiles>>,
    State(memberships): State<Arc<Memberships>>,
    State(rate_limits): State<Arc<RateLimits>>,
) -> ApiResult<Json<Empty>> {
    check_owner(&requester, &user_id)?;
    let spent = rate_limits.spend_by_user(Kind::Message, &requester)?;
    let rooms = spent.settle(profiles.remove(requester.user_sn, &field).await)?;
    tell_rooms(&profiles, memberships, requester, rooms).await?;
    Ok(Json(Empty {}))
}

/// Has the user's membership events say what the profile says now. In a task of its own, so that it goes on in all rooms if
/// the client goes away.
async fn tell_rooms(
    profiles: &Profiles,
    memberships: Arc<Memberships>,
    requester: Requester,
    rooms: Vec<RoomSn>,
) -> ApiResult<()> {
    if rooms.is_empty() {
        return Ok(());
    }
    let profile = profiles.member_profile(requester.user_sn).await?;
    let telling = tokio::spawn(async move {
        memberships.update_member_profile(requester.user_sn, &requester.user_id, rooms, &profile).await;
    });
    telling.await.map_err(|error| ApiError::internal("Changing member events", &error))
}

fn check_owner(requester: &Requester, user_id: &OwnedUserId) -> ApiResult<()> {
    if requester.user_id == *user_id {
        Ok(())
    } else {
        Err(ApiError::forbidden("You can change only your own profile"))
    }
}
