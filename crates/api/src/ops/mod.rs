//! For operators: health and metrics.

mod health;
mod metrics;
mod starting;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use telemetry::{HealthProbe, Metrics, RemoteTraces};

use crate::Resource;
use crate::edge::{EdgeLayer, RequestObserver};
use crate::error::ApiError;
pub use starting::starting_router;

/// Those of `/health`, what is under it, `/metrics` and `/_synapse/metrics` that are in `resources`, to be merged with [`crate::router`].
pub fn router(
    probe: Arc<HealthProbe>,
    metrics: Arc<Metrics>,
    observer: Option<Arc<dyn RequestObserver>>,
    resources: &[Resource],
) -> Router {
    let mut router = Router::new();
    if resources.contains(&Resource::Health) {
        let routes = Router::new().route("/health", get(health::health)).route("/health/live", get(health::live));
        router = router.merge(routes.route("/health/ready", get(health::ready)).with_state(probe));
    }
    if resources.contains(&Resource::Metrics) {
        let routes = Router::new().route("/metrics", get(metrics::metrics));
        router = router.merge(routes.route("/_synapse/metrics", get(metrics::metrics)).with_state(metrics));
    }
    router
        .method_not_allowed_fallback(async || {
            let error = ApiError::unrecognized("This endpoint does not support this method");
            error.with_status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(EdgeLayer { observer, client_traces: RemoteTraces::Ignore })
}

#[cfg(test)]
mod tests;
