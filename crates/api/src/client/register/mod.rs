//! `POST /_matrix/client/v3/register`

pub(super) mod available;
pub(super) mod token_validity;

use std::sync::Arc;

use axum::extract::State;
use ruma::{OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};
use services::rate_limits::{Key, Kind, RateLimits};
use services::registration::{NewUser, Registered, Registration, RegistrationError};
use services::sessions::{CheckedDevice, SessionDevice};
use services::uia::{Auth, Operation, UserInteractiveAuth};

use super::session::TokenKeys;
use crate::error::{ApiError, ApiResult};
use crate::extract::{ClientAddress, Json, Object, Query};

#[derive(Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    kind: AccountKind,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AccountKind {
    #[default]
    User,
    Guest,
}

#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(default)]
    auth: Option<Object<Auth>>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    inhibit_login: Option<bool>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: Option<bool>,
}

/// A new user, as both ways of registration answer it.
#[derive(Serialize)]
pub(crate) struct NewAccount {
    user_id: OwnedUserId,
    home_server: OwnedServerName,
    #[serde(flatten)]
    tokens: Option<TokenKeys>,
}

impl From<Registered> for NewAccount {
    fn from(registered: Registered) -> Self {
        let home_server = registered.user_id.server_name().to_owned();
        Self { user_id: registered.user_id, home_server, tokens: registered.tokens.map(TokenKeys::from) }
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register>
///
/// Only accounts that come into being count for the address, and not the steps until then.
pub(super) async fn register(
    ClientAddress(address): ClientAddress,
    State(rate_limits): State<Arc<RateLimits>>,
    State(registration): State<Arc<Registration>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Query(parameters): Query<Parameters>,
    Json(body): Json<Body>,
) -> ApiResult<Json<NewAccount>> {
    let key = Key::address(address);
    rate_limits.check(Kind::Registration, key, None)?;
    let device = CheckedDevice::try_from(SessionDevice {
        device_id: body.device_id,
        display_name: body.initial_device_display_name,
        wants_refresh_token: body.refresh_token.unwrap_or(false),
        address,
    })?;
    if let AccountKind::Guest = parameters.kind {
        let spent = rate_limits.spend(Kind::Registration, key, None)?;
        return Ok(Json(spent.settle(registration.register_guest(device).await)?.into()));
    }
    let flows = registration.flows().await?;
    if let Some(username) = &body.username {
        registration.check_available(username).await?;
    }
    let operation = Operation { name: "register", requester: None, flows: &flows };
    let authorisation = user_interactive_auth.authorise(operation, body.auth.as_ref().map(|auth| &auth.0)).await?;
    let password = body.password.ok_or_else(|| ApiError::missing_param("password: the password is missing"))?;
    let user = NewUser {
        username: body.username,
        password: Some(password),
        device: (!body.inhibit_login.unwrap_or(false)).then_some(device),
        ..NewUser::default()
    };
    let spent = rate_limits.spend(Kind::Registration, key, None)?;
    Ok(Json(spent.settle(registration.register(user, authorisation).await)?.into()))
}

impl From<RegistrationError> for ApiError {
    fn from(error: RegistrationError) -> Self {
        match error {
            RegistrationError::Closed | RegistrationError::PasswordsDisabled | RegistrationError::TokenUsedUp => {
                Self::forbidden(error.to_string())
            }
            RegistrationError::EmailInUse => Self::threepid_in_use(error.to_string()),
            RegistrationError::ConfirmationUsedUp => Self::threepid_auth_failed(error.to_string()),
            RegistrationError::NoGuests => Self::guest_access_forbidden(error.to_string()),
            RegistrationError::InvalidUsername(sentence) => Self::invalid_username(sentence),
            RegistrationError::UserInUse => Self::user_in_use(error.to_string()),
            RegistrationError::Password(error) => error.into(),
            RegistrationError::Storage(error) => error.into(),
        }
    }
}
