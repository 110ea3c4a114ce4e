//! `POST /_matrix/client/v3/user/{userId}/openid/request_token`

use std::sync::Arc;

use accounts::openid::{OpenIdTokens, VALID_FOR};
use axum::extract::State;
use homeserver_core::Identity;
use ruma::OwnedServerName;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, OwnUser};

#[derive(Serialize)]
pub(super) struct OpenIdToken {
    access_token: String,
    token_type: &'static str,
    matrix_server_name: OwnedServerName,
    expires_in: u64,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token>
pub(super) async fn request_token(
    OwnUser(Authenticated(requester), ()): OwnUser<Authenticated>,
    State(identity): State<Arc<Identity>>,
    State(tokens): State<Arc<OpenIdTokens>>,
    Json(_): Json<Map<String, Value>>,
) -> ClientResult<Json<OpenIdToken>> {
    Ok(Json(OpenIdToken {
        access_token: tokens.issue(requester.user_sn).await?,
        token_type: "Bearer",
        matrix_server_name: identity.server_name.clone(),
        expires_in: VALID_FOR.as_secs(),
    }))
}
