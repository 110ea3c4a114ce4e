use std::sync::Arc;

use config::Loaded;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    RunningServer, StartError,
    compose::{self, Needs},
    data_dir,
    listen::{Accepting, Listening},
    running::Bound,
    signing_key, starting,
};

/// Starts a server in the current Tokio runtime; it answers requests when this returns.
///
/// # Errors
///
/// [`StartError`], whose text is one sentence about what is missing or wrong.
pub async fn start(loaded: Loaded) -> Result<RunningServer, StartError> {
    let Loaded { config, sources } = loaded;
    data_dir::prepare(&config)?;
    let signing_key = Arc::new(signing_key::load_or_generate(&config.signing_key_path())?);
    // Bound first, because it fails soonest; clients that are already there wait in the system's queue.
    let listening = Listening::bind_all(&config, &sources).await?;
    let stopping = CancellationToken::new();
    let composing = compose::compose(Needs { config: &config, signing_key, stopping: stopping.clone() });
    let application = starting::answering(&config, &listening, Box::pin(composing)).await?;

    let connections = TaskTracker::new();
    let max_connections = config.server.max_connections as usize;
    let grace = config.server.shutdown_timeout.duration();
    let accepting = Accepting::new(max_connections, stopping.clone(), grace, connections.clone());
    let mut bound = Vec::with_capacity(listening.len());
    for (listening, listener) in listening.into_iter().zip(&config.listeners) {
        let router = application.router(&listener.resources);
        let entry = Bound::new(listening.address, listening.certificate.clone());
        tracing::info!(resources = ?listener.resources, "listening on {}", entry.url());
        bound.push(entry);
        accepting.spawn(listening, router);
    }
    Ok(RunningServer::new(config, application, bound, stopping, connections))
}
