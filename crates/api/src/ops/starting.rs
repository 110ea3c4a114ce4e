use axum::Json;
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use telemetry::{Readiness, RemoteTraces};

use super::health;
use crate::edge::EdgeLayer;
use crate::error::ApiError;

/// What a server answers while it starts: that it is alive, and to everything else to come back later.
pub fn starting_router() -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(async || (StatusCode::SERVICE_UNAVAILABLE, Json(Readiness::Starting))))
        .fallback(async || ApiError::unavailable("The server is starting: try again in a moment"))
        .layer(EdgeLayer { observer: None, client_traces: RemoteTraces::Ignore })
}
