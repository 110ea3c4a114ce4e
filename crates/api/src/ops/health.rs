use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};
use telemetry::{Health, HealthProbe, Readiness};

/// `GET /health`: 200 when the server does its work, 503 when it cannot.
pub(crate) async fn health(State(probe): State<Arc<HealthProbe>>) -> (StatusCode, Json<Health>) {
    let health = probe.check().await;
    let status = if health.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health))
}

/// `GET /health/live`: 200 as long as the process answers. Supervisors that restart a hanging process ask this.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

/// `GET /health/ready`: 200 when requests would be served. Load balancers ask this.
pub(crate) async fn ready(State(probe): State<Arc<HealthProbe>>) -> (StatusCode, Json<Readiness>) {
    let readiness = probe.readiness().await;
    let is_ready = readiness == Readiness::Ready;
    (if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(readiness))
}
