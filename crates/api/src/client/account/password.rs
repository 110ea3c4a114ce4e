//! `POST /_matrix/client/v3/account/password`

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use services::accounts::Accounts;
use services::uia::{Auth, Operation, Stage, UserInteractiveAuth};

use crate::Empty;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Authenticated, Json, Object};

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

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword>
pub(crate) async fn change_password(
    Authenticated(requester): Authenticated,
    State(accounts): State<Arc<Accounts>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<Body>,
) -> ApiResult<Json<Empty>> {
    let operation = Operation { name: "change password", requester: Some(&requester), flows: &[&[Stage::Password]] };
    user_interactive_auth.authorise(operation, body.auth.as_ref().map(|auth| &auth.0)).await?;
    let new_password =
        body.new_password.ok_or_else(|| ApiError::missing_param("new_password: the new password is missing"))?;
    accounts.change_password(&requester, &new_password, body.logout_devices).await?;
    Ok(Json(Empty {}))
}
