//! `PUT` and `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`

use std::sync::Arc;

use accounts::profiles::Profiles;
use accounts::rate_limits::{LimitedAction, RateLimits};
use accounts::sessions::Requester;
use axum::extract::State;
use serde_json::{Map, Value};

use crate::Empty;
use crate::client::error::ClientResult;
use crate::error::{ApiError, ApiResult};
use crate::extract::{GuestOrUser, Json, OwnUser, Unsuspended};

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname>
pub(crate) async fn set(
    OwnUser(Unsuspended(GuestOrUser(requester)), field): OwnUser<Unsuspended<GuestOrUser>, String>,
    State(profiles): State<Arc<Profiles>>,
    State(rate_limits): State<Arc<RateLimits>>,
    Json(body): Json<Map<String, Value>>,
) -> ClientResult<Json<Empty>> {
    check(&requester, &field)?;
    let value = body.get(&field).ok_or_else(|| ApiError::missing_param(format!("{field}: missing field")))?;
    let spent = rate_limits.spend_by_user(LimitedAction::Message, &requester)?;
    spent.settle(profiles.set(requester.user_sn, &field, value).await)?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname>
pub(crate) async fn remove(
    OwnUser(Unsuspended(GuestOrUser(requester)), field): OwnUser<Unsuspended<GuestOrUser>, String>,
    State(profiles): State<Arc<Profiles>>,
    State(rate_limits): State<Arc<RateLimits>>,
) -> ClientResult<Json<Empty>> {
    check(&requester, &field)?;
    let spent = rate_limits.spend_by_user(LimitedAction::Message, &requester)?;
    spent.settle(profiles.remove(requester.user_sn, &field).await)?;
    Ok(Json(Empty {}))
}

/// Users change any field of their profiles, guests only their display names.
fn check(requester: &Requester, field: &str) -> ApiResult<()> {
    if requester.is_guest && field != "displayname" {
        return Err(ApiError::guest_access_forbidden("Guests can change only their display name: register an account"));
    }
    Ok(())
}
