use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use telemetry::Metrics;

use crate::error::{ApiError, ApiResult};

/// `GET /metrics`: everything that the server counts, as Prometheus reads it.
pub(crate) async fn metrics(State(metrics): State<Arc<Metrics>>) -> ApiResult<impl IntoResponse> {
    let text = metrics.render().map_err(|error| ApiError::internal("Writing the metrics", &error))?;
    Ok(([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], text))
}
