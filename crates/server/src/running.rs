use std::{net::SocketAddr, sync::Arc};

use config::{Changes, Config, Loaded};
use storage::Database;
use telemetry::SpanCounts;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    StartError,
    compose::Application,
    listen::{Accepting, Certificate, ListenAddress, Listening},
};

/// A server that answers requests. Dropping it stops it without waiting for what is in flight;
/// [`RunningServer::shutdown`] is the orderly way.
pub struct RunningServer {
    config: Box<Config>,
    application: Application,
    bound: Vec<Bound>,
    accepting: Accepting,
    stopping: CancellationToken,
    connections: TaskTracker,
}

/// A socket that a server listens on.
pub struct Bound {
    listener: usize,
    address: ListenAddress,
    certificate: Option<Arc<Certificate>>,
}

impl Bound {
    pub(crate) fn new(listener: usize, address: ListenAddress, certificate: Option<Arc<Certificate>>) -> Self {
        Self { listener, address, certificate }
    }

    /// The address, with the port that the system chose if it was left to it; `None` for a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// The same as a URL without a path; of a unix socket, `unix:` and its path.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        match &self.address {
            ListenAddress::Tcp(address) => format!("{scheme}://{address}"),
            ListenAddress::Unix(path) => format!("unix:{path}"),
        }
    }
}

impl RunningServer {
    pub(crate) fn new(
        config: Config,
        application: Application,
        bound: Vec<Bound>,
        accepting: Accepting,
        stopping: CancellationToken,
        connections: TaskTracker,
    ) -> Self {
        let config = Box::new(config);
        Self { config, application, bound, accepting, stopping, connections }
    }

    /// The sockets, in the order of the configuration's listeners: one for each, or several that the service manager has handed
    /// over under one name.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// The registration token that makes its holder an administrator, as long as there is no account.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn first_account_token(&self) -> Result<Option<String>, StartError> {
        self.application.first_account_token().await
    }

    /// The database that it writes to. The server's clients see what is written through this.
    pub fn database(&self) -> &Database {
        self.application.database()
    }

    /// Shows the traces of this process, which belong to no single server, in the metrics.
    pub fn observe_traces(&self, counts: Arc<SpanCounts>) {
        self.application.observe_traces(counts);
    }

    /// Applies what can be changed while running, and reads certificates again. What needs a restart is in the answer;
    /// log settings belong to the process and are the caller's.
    ///
    /// # Errors
    ///
    /// When a file that the new configuration names is unusable; nothing has changed then.
    pub fn reload(&mut self, new: &Loaded) -> Result<Changes, config::Error> {
        let certificates = Listening::certificates(&new.config, &new.sources)?;
        let changes = self.config.changes(&new.config);
        // Keys that need a restart keep their old values: some settings follow from keys of both kinds.
        let mut config = self.config.clone();
        config.apply(&new.config);
        self.application.reconfigure(&config, &new.sources)?;
        for bound in &self.bound {
            if let (Some(old), Some(Some(new))) = (&bound.certificate, certificates.get(bound.listener)) {
                old.replace(new);
            }
        }
        let server = &config.server;
        self.accepting.reconfigure(server.max_connections as usize, server.shutdown_timeout.duration());
        self.config = config;
        Ok(changes)
    }

    /// Stops accepting, releases waiting requests, lets the rest and the jobs that run finish within
    /// `server.shutdown_timeout`, and closes the database.
    pub async fn shutdown(self) {
        self.stopping.cancel();
        self.connections.close();
        let grace = self.config.server.shutdown_timeout.duration();
        tokio::join!(self.connections.wait(), self.application.stop_jobs(grace));
        self.application.close().await;
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
