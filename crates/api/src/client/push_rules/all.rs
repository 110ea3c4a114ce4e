//! `GET /_matrix/client/v3/pushrules/` and `GET /_matrix/client/v3/pushrules/global/`

use std::sync::Arc;

use accounts::push_rules::PushRules;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules>
pub(crate) async fn all(
    Authenticated(requester): Authenticated,
    State(push_rules): State<Arc<PushRules>>,
) -> ClientResult<Response> {
    let rules = push_rules.of(requester.user_sn).await?;
    Ok(Json(json!({ "global": rules.for_client(requester.user_id.as_str()) })).into_response())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal>
pub(crate) async fn global(
    Authenticated(requester): Authenticated,
    State(push_rules): State<Arc<PushRules>>,
) -> ClientResult<Response> {
    let rules = push_rules.of(requester.user_sn).await?;
    Ok(Json(rules.for_client(requester.user_id.as_str())).into_response())
}
