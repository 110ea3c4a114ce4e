use std::sync::Arc;

use config::Loaded;
use homeserver_core::{Clock, SystemClock};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    RunningServer, StartError,
    compose::{self, Needs},
    data_dir,
    listen::{Accepting, InheritedSockets, Listening},
    running::Bound,
    signing_key, starting,
};

/// Starts a server in the current Tokio runtime; it answers requests when this returns.
///
/// # Errors
///
/// [`StartError`], whose text is one sentence about what is missing or wrong.
pub async fn start(loaded: Loaded) -> Result<RunningServer, StartError> {
    start_with(loaded, StartOptions::default()).await
}

/// What a server gets beside its configuration.
pub struct StartOptions {
    /// Sockets that the service manager has handed over.
    pub sockets: InheritedSockets,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// No sockets, and the machine's clock.
impl Default for StartOptions {
    fn default() -> Self {
        Self { sockets: InheritedSockets::none(), clock: Arc::new(SystemClock) }
    }
}

/// As [`start`], with other options.
///
/// # Errors
///
/// [`StartError`], also when a listener names a socket that is not among them.
pub async fn start_with(loaded: Loaded, options: StartOptions) -> Result<RunningServer, StartError> {
    let StartOptions { sockets: mut inherited, clock } = options;
    let Loaded { config, sources } = loaded;
    data_dir::prepare(&config)?;
    // The database knows which key it must be; an unreadable file fails here already.
    signing_key::read(&config.signing_key_path())?;
    // Bound before the database is opened, because it fails fastest; early clients wait in the system's queue.
    let listening = Listening::bind_all(&config, &sources, &mut inherited).await?;
    for name in inherited.left() {
        tracing::warn!("no listener has bind = \"systemd:{name}\", a socket that the service manager has handed over");
    }
    let stopping = CancellationToken::new();
    let composing = async {
        let lock = compose::lock(&config, clock.clone()).await?;
        compose::compose(Needs { config: &config, clock, lock, stopping: stopping.clone() }).await
    };
    let application = starting::answering(&config, &listening, Box::pin(composing)).await?;

    let connections = TaskTracker::new();
    let max_connections = config.server.max_connections as usize;
    let grace = config.server.shutdown_timeout.duration();
    let accepting = Accepting::new(max_connections, stopping.clone(), grace, connections.clone());
    let accepting = accepting.kept_by(application.loops());
    let mut bound = Vec::with_capacity(listening.len());
    for listening in listening {
        let Some(listener) = config.listeners.get(listening.listener) else { continue };
        let router = application.router(&listener.resources);
        let entry = Bound::new(listening.listener, listening.address.clone(), listening.certificate.clone());
        let resources: Vec<_> = listener.resources.iter().map(ToString::to_string).collect();
        tracing::info!(resources = resources.join(", "), "listening on {}", entry.url());
        bound.push(entry);
        accepting.spawn(listening, router);
    }
    Ok(RunningServer::new(config, application, bound, accepting, stopping, connections))
}
