//! `GET /_matrix/key/v2/server`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use federation::OwnKeys;

use crate::error::ApiError;
use crate::extract::json_bytes;
use crate::federation::error::FederationResult;

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server>
pub(crate) async fn own(State(keys): State<Arc<OwnKeys>>) -> FederationResult<Response> {
    let document = keys.document().map_err(|error| ApiError::internal("Signing the server's keys", &error))?;
    Ok(json_bytes(document))
}
