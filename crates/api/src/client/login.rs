//! `/_matrix/client/v3/login`

use std::sync::Arc;

use accounts::Accounts;
use accounts::login_tokens::LoginTokens;
use accounts::rate_limits::{Key, LimitedAction, RateLimits};
use accounts::sessions::{CheckedDevice, SessionDevice};
use accounts::threepids::EMAIL;
use accounts::uia::UserIdentifier;
use accounts::well_known::WellKnown;
use axum::extract::State;
use ruma::{OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::session::TokenKeys;
use crate::client::error::ClientResult;
use crate::error::{ApiError, ApiResult};
use crate::extract::{ClientAddress, Json, Object};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login>
pub(super) async fn flows(State(accounts): State<Arc<Accounts>>) -> Json<Value> {
    // Who has no password cannot prove anything, and so gets no login token.
    let flows = match accounts.passwords_enabled() {
        true => json!([{ "type": "m.login.password" }, { "type": "m.login.token", "get_login_token": true }]),
        false => json!([]),
    };
    Json(json!({ "flows": flows }))
}

#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    identifier: Option<Object<UserIdentifier>>,
    /// Where old clients put what is now in `identifier`.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct LoggedIn {
    user_id: OwnedUserId,
    home_server: OwnedServerName,
    #[serde(flatten)]
    tokens: TokenKeys,
    #[serde(skip_serializing_if = "Option::is_none")]
    well_known: Option<Value>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login>
pub(super) async fn log_in(
    ClientAddress(address): ClientAddress,
    State(rate_limits): State<Arc<RateLimits>>,
    State(accounts): State<Arc<Accounts>>,
    State(login_tokens): State<Arc<LoginTokens>>,
    State(well_known): State<Arc<WellKnown>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<LoggedIn>> {
    if !["m.login.password", "m.login.token"].contains(&body.kind.as_str()) || !accounts.passwords_enabled() {
        return Err(ApiError::unknown(format!("type: this server has no logins of type {:?}", body.kind)).into());
    }
    rate_limits.spend(LimitedAction::LoginAddress, Key::address(address), None)?.keep();
    let device = CheckedDevice::try_from(SessionDevice {
        device_id: body.device_id,
        display_name: body.initial_device_display_name,
        wants_refresh_token: body.refresh_token.unwrap_or(false),
        address,
    })?;
    let (user_id, tokens) = match body.kind.as_str() {
        "m.login.token" => {
            let token = body.token.ok_or_else(|| ApiError::bad_json("token: missing field"))?;
            login_tokens.log_in(&token, &device).await?
        }
        _ => {
            let name = Name::of(body.identifier.map(|identifier| identifier.0), body.user)?;
            let password = body.password.ok_or_else(|| ApiError::bad_json("password: missing field"))?;
            let proof = match &name {
                Name::User(name) => accounts.by_password(name, &password).await?,
                Name::Email(address) => accounts.by_email_and_password(address, &password).await?,
            };
            let tokens = accounts.log_in(&proof, &device).await?;
            (proof.user_id, tokens)
        }
    };
    Ok(Json(LoggedIn {
        home_server: user_id.server_name().to_owned(),
        user_id,
        tokens: tokens.into(),
        well_known: well_known.client_document().and_then(|document| serde_json::from_slice(&document).ok()),
    }))
}

/// By what a user is known who logs in.
enum Name {
    /// The user ID, or its localpart.
    User(String),
    /// An e-mail address of the account.
    Email(String),
}

impl Name {
    /// <https://spec.matrix.org/v1.19/client-server-api/#identifier-types>
    fn of(identifier: Option<UserIdentifier>, user: Option<String>) -> ApiResult<Self> {
        let missing = |key: &str| ApiError::bad_json(format!("identifier.{key}: missing field"));
        let Some(identifier) = identifier else {
            return user.map(Self::User).ok_or_else(|| ApiError::bad_json("identifier: missing field"));
        };
        match identifier.kind.as_str() {
            "m.id.user" => identifier.user.map(Self::User).ok_or_else(|| missing("user")),
            "m.id.thirdparty" => match identifier.medium.as_deref() {
                Some(EMAIL) => identifier.address.map(Self::Email).ok_or_else(|| missing("address")),
                Some(medium) => {
                    Err(ApiError::unknown(format!("identifier.medium: this server knows no users by {medium:?}")))
                }
                None => Err(missing("medium")),
            },
            kind => Err(ApiError::unknown(format!("identifier.type: this server knows no users by {kind:?}"))),
        }
    }
}
