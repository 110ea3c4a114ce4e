//! `POST …/email/requestToken` and `POST …/msisdn/requestToken`, for registration, a new password, and an account's addresses.

use std::sync::Arc;

use accounts::rate_limits::{Key, LimitedAction, RateLimits};
use accounts::registration::Registration;
use accounts::threepids::{Purpose, ThirdPartyIdentifiers, TokenRequest};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{ClientAddress, Json};

/// What all of them take. An identity server that the client names does not matter: this server validates addresses itself.
#[derive(Deserialize)]
pub(crate) struct Body {
    client_secret: String,
    email: String,
    send_attempt: i64,
    #[serde(default)]
    next_link: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct RequestedToken {
    sid: String,
}

impl From<Body> for TokenRequest {
    fn from(body: Body) -> Self {
        let Body { client_secret, email, send_attempt, next_link } = body;
        Self { client_secret, email, send_attempt, next_link: next_link.filter(|link| !link.is_empty()) }
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken>
pub(crate) async fn for_registration(
    ClientAddress(address): ClientAddress,
    State(rate_limits): State<Arc<RateLimits>>,
    State(registration): State<Arc<Registration>>,
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<RequestedToken>> {
    rate_limits.spend(LimitedAction::ThirdPartyValidation, Key::address(address), None)?.keep();
    if threepids.email_enabled() && !registration.takes_email().await? {
        return Err(ApiError::forbidden("Registration on this server takes no e-mail address at the moment").into());
    }
    let sid = threepids.request_token(Purpose::Registration, body.into()).await?;
    Ok(Json(RequestedToken { sid }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordemailrequesttoken>
pub(crate) async fn for_new_password(
    ClientAddress(address): ClientAddress,
    State(rate_limits): State<Arc<RateLimits>>,
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<RequestedToken>> {
    rate_limits.spend(LimitedAction::ThirdPartyValidation, Key::address(address), None)?.keep();
    let sid = threepids.request_token(Purpose::PasswordReset, body.into()).await?;
    Ok(Json(RequestedToken { sid }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken>
pub(crate) async fn for_account(
    ClientAddress(address): ClientAddress,
    State(rate_limits): State<Arc<RateLimits>>,
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<RequestedToken>> {
    rate_limits.spend(LimitedAction::ThirdPartyValidation, Key::address(address), None)?.keep();
    let sid = threepids.request_token(Purpose::AddAddress, body.into()).await?;
    Ok(Json(RequestedToken { sid }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidmsisdnrequesttoken>
pub(crate) async fn for_phone_number() -> ApiError {
    ApiError::threepid_medium_not_supported("This server does not validate phone numbers")
}
