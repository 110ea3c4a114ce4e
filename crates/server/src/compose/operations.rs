use std::{sync::Arc, time::Duration};

use api::{RequestObserver, state::OperationsComponents};
use background::{BackgroundJobs, Statistics};
use config::{ClientTraces, Config};
use http::{Method, StatusCode};
use telemetry::{HealthProbe, Metrics, RemoteTraces};

use super::{foundation::Foundation, log::LogParts, observing};

/// What operators see of the server.
pub(crate) struct OperationsParts {
    pub(super) components: OperationsComponents,
    pub(super) health: Arc<HealthProbe>,
}

impl OperationsParts {
    /// Begins to watch the disk and the log.
    pub(super) fn new(config: &Config, foundation: &Foundation, log: &LogParts) -> Self {
        let Foundation { database, clock, metrics, loops, identity, rate_limits, .. } = foundation;
        let data_dir = config.server.data_dir.clone();
        let health = observing::health_probe(metrics.clone(), database, log.progress.clone(), data_dir, loops);
        let components = OperationsComponents {
            observer: Some(request_observer(metrics.clone())),
            client_traces: client_traces(config),
            identity: identity.clone(),
            rate_limits: rate_limits.clone(),
            background_jobs: Arc::new(BackgroundJobs::new(database.clone(), clock.clone())),
            statistics: Arc::new(Statistics::new(database.clone())),
        };
        Self { components, health }
    }
}

fn client_traces(config: &Config) -> RemoteTraces {
    match config.telemetry.client_traces {
        ClientTraces::Ignore => RemoteTraces::Ignore,
        ClientTraces::Link => RemoteTraces::Link,
        ClientTraces::Continue => RemoteTraces::Continue,
    }
}

fn request_observer(metrics: Arc<Metrics>) -> Arc<dyn RequestObserver> {
    Arc::new(move |method: &Method, route: Option<&str>, status: StatusCode, took: Duration| {
        metrics.request_answered(bounded(method), route.unwrap_or("none"), status.as_u16(), took);
    })
}

/// Anyone can invent a method; the metrics know those in use.
fn bounded(method: &Method) -> &str {
    match *method {
        Method::GET | Method::POST | Method::PUT | Method::DELETE | Method::OPTIONS | Method::HEAD => method.as_str(),
        _ => "other",
    }
}
