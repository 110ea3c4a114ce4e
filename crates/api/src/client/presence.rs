//! `GET` and `PUT /_matrix/client/v3/presence/{userId}/status`

use std::sync::Arc;

use accounts::rate_limits::{LimitedAction, RateLimits};
use axum::extract::State;
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use sync::presence::{PresenceError, PresenceState, Presences};

use crate::Empty;
use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{Authenticated, Json, OwnUser, Path};

/// What a client says about its user's presence.
#[derive(Clone, Copy, Default, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum Presence {
    #[default]
    Online,
    Offline,
    Unavailable,
}

impl From<Presence> for PresenceState {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Online => Self::Online,
            Presence::Offline => Self::Offline,
            Presence::Unavailable => Self::Unavailable,
        }
    }
}

#[derive(Deserialize, Debug)]
pub(super) struct Status {
    presence: Presence,
    status_msg: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Answer {
    presence: &'static str,
    currently_active: bool,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_ago: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_msg: Option<Box<str>>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus>
pub(super) async fn set(
    OwnUser(Authenticated(requester), ()): OwnUser<Authenticated>,
    State(presences): State<Arc<Presences>>,
    State(rate_limits): State<Arc<RateLimits>>,
    Json(Status { presence, status_msg }): Json<Status>,
) -> ClientResult<Json<Empty>> {
    let spent = rate_limits.spend_by_user(LimitedAction::Presence, &requester)?;
    spent.settle(presences.set(&requester, presence.into(), status_msg).await)?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus>
pub(super) async fn get(
    Authenticated(requester): Authenticated,
    Path(user_id): Path<OwnedUserId>,
    State(presences): State<Arc<Presences>>,
) -> ClientResult<Json<Answer>> {
    let now = presences.of(&requester, &user_id).await?;
    Ok(Json(Answer {
        presence: now.state.as_str(),
        currently_active: now.state == PresenceState::Online,
        last_active_ago: now.last_active_ago.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        status_msg: now.status_message,
    }))
}

impl From<PresenceError> for ClientError {
    fn from(error: PresenceError) -> Self {
        Self(match error {
            PresenceError::NotVisible => ApiError::forbidden(error.to_string()),
            PresenceError::StatusTooLong => ApiError::invalid_param(error.to_string()),
            PresenceError::Storage(error) => error.into(),
        })
    }
}
