//! WellKnown of this server by its name.

use std::sync::Arc;

use accounts::well_known::WellKnown;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use crate::error::{ApiError, ApiResult};
use crate::extract::json_bytes;
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/.well-known/matrix/client", get(client))
        .route("/.well-known/matrix/server", get(server))
        .route("/.well-known/matrix/support", get(support))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient>
async fn client(State(well_known): State<Arc<WellKnown>>) -> ApiResult<Response> {
    let document = well_known
        .client_document()
        .ok_or_else(|| ApiError::not_found("This server has no public base URL configured"))?;
    Ok(json_bytes(document))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>
async fn server(State(well_known): State<Arc<WellKnown>>) -> ApiResult<Response> {
    let document = well_known
        .server_document()
        .ok_or_else(|| ApiError::not_found("This server delegates federation to no other address"))?;
    Ok(json_bytes(document))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport>
async fn support(State(well_known): State<Arc<WellKnown>>) -> ApiResult<Response> {
    let document =
        well_known.support_document().ok_or_else(|| ApiError::not_found("This server names nobody to ask for help"))?;
    Ok(json_bytes(document))
}
