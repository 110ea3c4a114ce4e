//! `POST /_matrix/client/v3/account/deactivate`

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use services::accounts::Accounts;
use services::uia::{Auth, Operation, Stage, UserInteractiveAuth};

use crate::error::ApiResult;
use crate::extract::{Authenticated, Json, Object};

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    auth: Option<Object<Auth>>,
    #[serde(default)]
    erase: bool,
}

#[derive(Serialize)]
pub(crate) struct Deactivated {
    id_server_unbind_result: &'static str,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>
pub(crate) async fn deactivate(
    Authenticated(requester): Authenticated,
    State(accounts): State<Arc<Accounts>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<Body>,
) -> ApiResult<Json<Deactivated>> {
    let operation = Operation { name: "deactivate", requester: Some(&requester), flows: &[&[Stage::Password]] };
    user_interactive_auth.authorise(operation, body.auth.as_ref().map(|auth| &auth.0)).await?;
    accounts.deactivate(requester.user_sn, body.erase).await?;
    // Nothing is ever bound to an identity server from here.
    Ok(Json(Deactivated { id_server_unbind_result: "no-support" }))
}
