//! `GET /_matrix/client/v1/register/m.login.registration_token/validity`

use std::sync::Arc;

use accounts::rate_limits::{Key, LimitedAction, RateLimits};
use accounts::registration::Registration;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::client::error::ClientResult;
use crate::extract::{ClientAddress, Json, Query};

#[derive(Deserialize)]
pub(crate) struct Parameters {
    token: String,
}

#[derive(Serialize)]
pub(crate) struct Validity {
    valid: bool,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity>
pub(crate) async fn token_validity(
    ClientAddress(address): ClientAddress,
    State(rate_limits): State<Arc<RateLimits>>,
    State(registration): State<Arc<Registration>>,
    Query(parameters): Query<Parameters>,
) -> ClientResult<Json<Validity>> {
    rate_limits.spend(LimitedAction::RegistrationTokenValidity, Key::address(address), None)?.keep();
    registration.check_open().await?;
    Ok(Json(Validity { valid: registration.is_token_usable(&parameters.token).await? }))
}
