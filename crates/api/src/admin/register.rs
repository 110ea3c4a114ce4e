//! `/_synapse/admin/v1/register`: registration by the shared secret.
//!
//! <https://element-hq.github.io/synapse/latest/admin_api/register_api.html>

use std::sync::Arc;

use accounts::rate_limits::Key;
use accounts::registration::{SharedSecret, SharedSecretError, SharedSecretRequest};
use accounts::sessions::{CheckedDevice, SessionDevice};
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::error::{AdminError, AdminResult};
use crate::client::NewAccount;
use crate::error::ApiError;
use crate::extract::{ClientAddress, Json};

#[derive(Serialize)]
pub(super) struct Nonce {
    nonce: String,
}

/// Gives out a nonce for one request.
pub(super) async fn nonce(State(shared_secret): State<Arc<SharedSecret>>) -> AdminResult<Json<Nonce>> {
    Ok(Json(Nonce { nonce: shared_secret.nonce() }))
}

#[derive(Deserialize)]
pub(super) struct Body {
    nonce: String,
    username: String,
    password: String,
    mac: String,
    #[serde(default)]
    admin: Option<bool>,
    #[serde(default)]
    user_type: Option<String>,
    #[serde(default)]
    displayname: Option<String>,
    #[serde(default)]
    inhibit_login: Option<bool>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: Option<bool>,
}

/// Registers a user.
pub(super) async fn register(
    ClientAddress(address): ClientAddress,
    State(shared_secret): State<Arc<SharedSecret>>,
    Json(body): Json<Body>,
) -> AdminResult<Json<NewAccount>> {
    let device = CheckedDevice::try_from(SessionDevice {
        device_id: body.device_id,
        display_name: body.initial_device_display_name,
        wants_refresh_token: body.refresh_token.unwrap_or(false),
        address,
    })?;
    let request = SharedSecretRequest {
        nonce: body.nonce,
        username: body.username,
        password: body.password,
        is_admin: body.admin.unwrap_or(false),
        user_type: body.user_type,
        display_name: body.displayname,
        mac: body.mac,
        device: (!body.inhibit_login.unwrap_or(false)).then_some(device),
    };
    Ok(Json(shared_secret.register(request, Key::address(address)).await?.into()))
}

impl From<SharedSecretError> for AdminError {
    fn from(error: SharedSecretError) -> Self {
        Self(match error {
            SharedSecretError::Disabled | SharedSecretError::UnknownNonce | SharedSecretError::InvalidUserType => {
                ApiError::unknown(error.to_string())
            }
            SharedSecretError::WrongMac => ApiError::unknown(error.to_string()).with_status(StatusCode::FORBIDDEN),
            SharedSecretError::LimitExceeded(error) => error.into(),
            SharedSecretError::Registration(error) => error.into(),
            SharedSecretError::Storage(error) => error.into(),
        })
    }
}
