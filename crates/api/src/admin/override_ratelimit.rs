//! `/_synapse/admin/v1/users/{user_id}/override_ratelimit`: the rate limits of one user.
//!
//! <https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html#override-ratelimiting-for-users>

use std::sync::Arc;

use accounts::rate_limits::{OverrideError, RateLimits, RateOverride};
use axum::extract::State;
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::admin::error::{AdminError, AdminResult};
use crate::error::ApiError;
use crate::extract::{Administrator, Json, Path};

#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(default)]
    messages_per_second: i64,
    #[serde(default)]
    burst_count: i64,
}

/// Empty for a user with the limits of everybody.
#[derive(Serialize)]
pub(super) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_per_second: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst_count: Option<i64>,
}

impl From<Option<RateOverride>> for Entry {
    fn from(entry: Option<RateOverride>) -> Self {
        Self {
            messages_per_second: entry.map(|entry| entry.messages_per_second),
            burst_count: entry.map(|entry| entry.burst),
        }
    }
}

/// Shows what is different for a user.
pub(super) async fn read(
    Administrator(_): Administrator,
    Path(user_id): Path<OwnedUserId>,
    State(rate_limits): State<Arc<RateLimits>>,
) -> AdminResult<Json<Entry>> {
    Ok(Json(rate_limits.override_of(&user_id).await?.into()))
}

/// Gives a user a rate of messages; 0 messages a second lift all limits.
pub(super) async fn set(
    Administrator(_): Administrator,
    Path(user_id): Path<OwnedUserId>,
    State(rate_limits): State<Arc<RateLimits>>,
    Json(body): Json<Body>,
) -> AdminResult<Json<Entry>> {
    for (key, figure) in [("messages_per_second", body.messages_per_second), ("burst_count", body.burst_count)] {
        if figure < 0 {
            return Err(ApiError::invalid_param(format!("{key}: expected a whole number that is not negative")).into());
        }
    }
    let entry = RateOverride { messages_per_second: body.messages_per_second, burst: body.burst_count };
    rate_limits.set_override(&user_id, entry).await?;
    Ok(Json(Some(entry).into()))
}

/// Gives a user the limits of everybody again.
pub(super) async fn remove(
    Administrator(_): Administrator,
    Path(user_id): Path<OwnedUserId>,
    State(rate_limits): State<Arc<RateLimits>>,
) -> AdminResult<Json<Empty>> {
    rate_limits.remove_override(&user_id).await?;
    Ok(Json(Empty {}))
}

impl From<OverrideError> for AdminError {
    fn from(error: OverrideError) -> Self {
        Self(match error {
            OverrideError::NotLocal => ApiError::unknown(error.to_string()),
            OverrideError::NoSuchUser => ApiError::not_found(error.to_string()),
            OverrideError::Storage(error) => error.into(),
        })
    }
}
