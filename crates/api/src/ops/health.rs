use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use telemetry::{Health, HealthProbe};

/// `GET /health`: 200 when the server does its work, 503 when it cannot.
pub(crate) async fn health(State(probe): State<Arc<HealthProbe>>) -> (StatusCode, Json<Health>) {
    let health = probe.check().await;
    let status = if health.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health))
}
