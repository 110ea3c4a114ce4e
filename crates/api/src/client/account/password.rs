//! `POST /_matrix/client/v3/account/password`

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use services::accounts::Accounts;
use services::threepids::ThirdPartyIdentifiers;
use services::uia::{Auth, Flow, Operation, Stage, UserInteractiveAuth};

use crate::Empty;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Json, Object, OptionalAuthenticated};

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    auth: Option<Object<Auth>>,
    #[serde(default)]
    new_password: Option<String>,
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

/// Without a token it is whoever has the e-mail address that was confirmed who gets a new password.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword>
pub(crate) async fn change_password(
    OptionalAuthenticated(requester): OptionalAuthenticated,
    State(accounts): State<Arc<Accounts>>,
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<Body>,
) -> ApiResult<Json<Empty>> {
    if requester.as_ref().is_some_and(|requester| requester.is_guest) {
        return Err(ApiError::guest_access_forbidden("Guests have no password: register an account"));
    }
    let flows: &[Flow] = match (&requester, threepids.email_enabled()) {
        (Some(_), true) => &[&[Stage::Password], &[Stage::PasswordResetEmail]],
        (Some(_), false) => &[&[Stage::Password]],
        (None, true) => &[&[Stage::PasswordResetEmail]],
        (None, false) => return Err(ApiError::missing_token("Missing access token")),
    };
    let operation = Operation { name: "change password", requester: requester.as_ref(), flows };
    let auth = body.auth.as_ref().map(|auth| &auth.0);
    let authorisation = user_interactive_auth.authorise(operation, auth).await?;
    let new_password =
        body.new_password.ok_or_else(|| ApiError::missing_param("new_password: the new password is missing"))?;
    match (authorisation.email, &requester) {
        (Some(email), requester) => {
            let kept = requester.as_ref().and_then(|requester| requester.device_sn);
            accounts.reset_password(&email, &new_password, body.logout_devices, kept).await?;
        }
        (None, Some(requester)) => accounts.change_password(requester, &new_password, body.logout_devices).await?,
        // No flow without a token ends without an address.
        (None, None) => return Err(ApiError::missing_token("Missing access token")),
    }
    Ok(Json(Empty {}))
}
