//! `POST /_matrix/client/v3/account/3pid/add`

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use services::threepids::ThirdPartyIdentifiers;
use services::uia::{Auth, Operation, Stage, UserInteractiveAuth};

use crate::Empty;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Authenticated, Json, Object};

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    auth: Option<Object<Auth>>,
    client_secret: String,
    sid: String,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd>
pub(crate) async fn add(
    Authenticated(requester): Authenticated,
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<Body>,
) -> ApiResult<Json<Empty>> {
    if !threepids.email_enabled() {
        return Err(ApiError::threepid_medium_not_supported("This server does not validate e-mail addresses"));
    }
    let name = format!("add address of {}", body.sid);
    let operation = Operation { name: &name, requester: Some(&requester), flows: &[&[Stage::Password]] };
    user_interactive_auth.authorise(operation, body.auth.as_ref().map(|auth| &auth.0)).await?;
    threepids.add(&requester, &body.sid, &body.client_secret).await?;
    Ok(Json(Empty {}))
}
