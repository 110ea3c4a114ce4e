//! `POST /_matrix/client/v3/register`

pub(super) mod available;
pub(super) mod token_validity;

use std::sync::Arc;

use accounts::asking::Asker;
use accounts::rate_limits::{Key, LimitedAction, RateLimits};
use accounts::registration::{NewUser, RegisterParameters, Registered, Registration};
use accounts::sessions::{CheckedDevice, SessionDevice};
use accounts::uia::{Asked, Auth, Authorised, Operation, UserInteractiveAuth};
use axum::extract::{FromRequest as _, Request, State};
use ruma::{OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::session::TokenKeys;
use crate::client::error::ClientResult;
use crate::error::ApiError;
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
    #[serde(default)]
    guest_access_token: Option<String>,
}

/// What is read of a guest's request: the server ignores everything else.
#[derive(Deserialize)]
struct GuestBody {
    #[serde(default)]
    initial_device_display_name: Option<String>,
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
    Query(kind): Query<Parameters>,
    request: Request,
) -> ClientResult<Json<NewAccount>> {
    let key = Key::address(address);
    rate_limits.check(LimitedAction::Registration, key, None)?;
    if let AccountKind::Guest = kind.kind {
        let Json(body): Json<GuestBody> = Json::from_request(request, &()).await?;
        let display_name = body.initial_device_display_name;
        let device = CheckedDevice::try_from(SessionDevice { display_name, address, ..SessionDevice::default() })?;
        let spent = rate_limits.spend(LimitedAction::Registration, key, None)?;
        return Ok(Json(spent.settle(registration.register_guest(device).await)?.into()));
    }
    let Json(body): Json<Body> = Json::from_request(request, &()).await?;
    let auth = body.auth.as_ref().map(|auth| &auth.0);
    let parameters = RegisterParameters {
        username: body.username,
        device_id: body.device_id,
        device_name: body.initial_device_display_name,
        inhibit_login: body.inhibit_login,
        wants_refresh_token: body.refresh_token,
    };
    // Refused before any stage, if it cannot be logged in.
    parameters.device(address)?;
    let asked = Asked { parameters: parameters.cut(), new_password: body.password };
    let (operation, asker) = (Operation::Register, Asker::Address(address));
    if let Some(outcome) = user_interactive_auth.outcome(operation, asker, &asked, auth).await? {
        return Ok(Json(registration.register_again(outcome, &asked.parameters, address).await?.into()));
    }
    registration.check_open().await?;
    let upgrades = match (&body.guest_access_token, &asked.parameters.username) {
        (Some(token), Some(username)) => Some(registration.upgrading_guest(token, username).await?),
        (Some(_), None) => {
            return Err(ApiError::missing_param("username: a guest keeps the name, and has to give it").into());
        }
        (None, Some(username)) => {
            registration.check_available(username).await?;
            None
        }
        (None, None) => None,
    };
    let Authorised { parameters, new_password, authorisation } =
        user_interactive_auth.authorise(operation, asker, asked, auth).await?;
    let user = NewUser {
        device: parameters.logs_in().then(|| parameters.device(address)).transpose()?,
        username: parameters.username,
        password: Some(new_password.ok_or_else(|| ApiError::missing_param("password: the password is missing"))?),
        upgrades,
        ..NewUser::default()
    };
    let spent = rate_limits.spend(LimitedAction::Registration, key, None)?;
    Ok(Json(spent.settle(registration.register(user, authorisation).await)?.into()))
}
