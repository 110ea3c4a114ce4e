//! `GET /_matrix/client/v3/register/available`

use std::sync::Arc;

use accounts::rate_limits::{Key, LimitedAction, RateLimits};
use accounts::registration::Registration;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::client::error::ClientResult;
use crate::extract::{ClientAddress, Json, Query};

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
    ClientAddress(address): ClientAddress,
    State(rate_limits): State<Arc<RateLimits>>,
    State(registration): State<Arc<Registration>>,
    Query(parameters): Query<Parameters>,
) -> ClientResult<Json<Available>> {
    rate_limits.spend(LimitedAction::RegistrationAvailable, Key::address(address), None)?.keep();
    registration.check_open().await?;
    registration.check_available(&parameters.username).await?;
    Ok(Json(Available { available: true }))
}
