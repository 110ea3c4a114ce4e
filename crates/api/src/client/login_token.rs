//! `POST /_matrix/client/v1/login/get_token`

use std::sync::Arc;

use accounts::Accounts;
use accounts::asking::Asker;
use accounts::login_tokens::{LoginTokenError, LoginTokens, VALID_FOR};
use accounts::uia::{Asked, Auth, Operation, Parameters, UserInteractiveAuth};
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{Authenticated, Json, Object};

#[derive(Deserialize)]
pub(super) struct Body {
    #[serde(default)]
    auth: Option<Object<Auth>>,
}

/// Each token needs an authentication of its own.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct OneToken {}

impl Parameters for OneToken {
    fn complete(self, _before: Self) -> Option<Self> {
        Some(self)
    }

    fn repeat(&self, _done: &Self) -> bool {
        false
    }
}

#[derive(Serialize)]
pub(super) struct LoginToken {
    login_token: String,
    expires_in_ms: u64,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token>
pub(super) async fn issue(
    Authenticated(requester): Authenticated,
    State(accounts): State<Arc<Accounts>>,
    State(login_tokens): State<Arc<LoginTokens>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<LoginToken>> {
    if !accounts.passwords_enabled() {
        let sentence = "This server gives out no login tokens, because it does not use passwords";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", sentence).into());
    }
    let (asker, auth) = (Asker::User(&requester), body.auth.as_ref().map(|auth| &auth.0));
    let asked = Asked::from(OneToken {});
    let authorised = Box::pin(user_interactive_auth.authorise(Operation::IssueLoginToken, asker, asked, auth)).await?;
    let login_token = login_tokens.issue(&requester, &authorised.authorisation).await?;
    let expires_in_ms = u64::try_from(VALID_FOR.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(LoginToken { login_token, expires_in_ms }))
}

impl From<LoginTokenError> for ClientError {
    fn from(error: LoginTokenError) -> Self {
        Self(match error {
            LoginTokenError::UnknownToken | LoginTokenError::SessionUsedUp => ApiError::forbidden(error.to_string()),
            LoginTokenError::LimitExceeded(error) => error.into(),
            LoginTokenError::Storage(error) => error.into(),
        })
    }
}
