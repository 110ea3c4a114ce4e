//! `GET /_matrix/client/v3/register/available`

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use services::registration::Registration;

use crate::error::ApiResult;
use crate::extract::{Json, Query};

#[derive(Deserialize)]
pub(crate) struct Parameters {
    username: String,
}

#[derive(Serialize)]
pub(crate) struct Available {
    available: bool,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable>
pub(crate) async fn available(
    State(registration): State<Arc<Registration>>,
    Query(parameters): Query<Parameters>,
) -> ApiResult<Json<Available>> {
    registration.flows().await?;
    registration.check_available(&parameters.username).await?;
    Ok(Json(Available { available: true }))
}
