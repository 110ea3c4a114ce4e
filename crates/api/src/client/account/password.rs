//! `POST /_matrix/client/v3/account/password`

use std::sync::Arc;

use accounts::Accounts;
use accounts::asking::Asker;
use accounts::uia::{Asked, Auth, Authorised, Operation, Parameters, UserInteractiveAuth, unchanged};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{ClientAddress, Json, Object, OptionalAuthenticated};

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    auth: Option<Object<Auth>>,
    #[serde(default)]
    new_password: Option<String>,
    #[serde(default)]
    logout_devices: Option<bool>,
}

/// What is remembered between the stages, besides the password's hash.
#[derive(Clone, Default, Serialize, Deserialize)]
struct PasswordParameters {
    #[serde(default)]
    logout_devices: Option<bool>,
}

impl Parameters for PasswordParameters {
    fn complete(self, before: Self) -> Option<Self> {
        Some(Self { logout_devices: unchanged(self.logout_devices, before.logout_devices)? })
    }

    fn repeat(&self, done: &Self) -> bool {
        self.logout_devices.is_none_or(|logout| Some(logout) == done.logout_devices)
    }
}

/// Without a token, the owner of the confirmed e-mail address gets the new password.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword>
pub(crate) async fn change_password(
    ClientAddress(address): ClientAddress,
    OptionalAuthenticated(requester): OptionalAuthenticated,
    State(accounts): State<Arc<Accounts>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Empty>> {
    if requester.as_ref().is_some_and(|requester| requester.is_guest) {
        return Err(ApiError::guest_access_forbidden("Guests have no password: register an account").into());
    }
    let (operation, asker) =
        (Operation::ChangePassword, requester.as_ref().map_or(Asker::Address(address), Asker::User));
    let auth = body.auth.as_ref().map(|auth| &auth.0);
    let parameters = PasswordParameters { logout_devices: body.logout_devices };
    let asked = Asked { parameters, new_password: body.new_password };
    if user_interactive_auth.outcome(operation, asker, &asked, auth).await?.is_some() {
        return Ok(Json(Empty {}));
    }
    let Authorised { parameters, new_password, authorisation } =
        user_interactive_auth.authorise(operation, asker, asked, auth).await?;
    let new_password =
        new_password.ok_or_else(|| ApiError::missing_param("new_password: the new password is missing"))?;
    let log_out = parameters.logout_devices.unwrap_or(true);
    match (&authorisation.email, &requester) {
        (Some(email), requester) => {
            let kept = requester.as_ref().and_then(|requester| requester.device_sn);
            accounts.reset_password(email, &authorisation, new_password, log_out, kept).await?;
        }
        (None, Some(requester)) => {
            accounts.change_password(requester, &authorisation, new_password, log_out).await?;
        }
        // No flow without a token ends without an address.
        (None, None) => return Err(ApiError::missing_token("Missing access token").into()),
    }
    Ok(Json(Empty {}))
}
