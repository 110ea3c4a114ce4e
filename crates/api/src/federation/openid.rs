//! `GET /_matrix/federation/v1/openid/userinfo`

use std::sync::Arc;

use accounts::openid::OpenIdTokens;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::extract::{Json, Query};
use crate::federation::error::FederationResult;

#[derive(Deserialize)]
pub(crate) struct ByToken {
    access_token: String,
}

#[derive(Serialize)]
pub(crate) struct UserInfo {
    sub: String,
}

/// Services that are no homeservers ask this, so nobody has to sign it.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo>
pub(crate) async fn user_info(
    Query(ByToken { access_token }): Query<ByToken>,
    State(tokens): State<Arc<OpenIdTokens>>,
) -> FederationResult<Json<UserInfo>> {
    let user_id = tokens.user(&access_token).await?;
    let unknown =
        || ApiError::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "The OpenID token is unknown or has expired");
    Ok(Json(UserInfo { sub: user_id.ok_or_else(unknown)? }))
}
