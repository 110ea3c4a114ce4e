use std::{net::SocketAddr, sync::Arc};

use config::{Changes, Config, Loaded};
use storage::Database;
use telemetry::SpanCounts;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    StartError,
    compose::Application,
    listen::{Certificate, Listening},
};

/// A server that answers requests. Dropping it stops it without waiting for what is in flight;
/// [`RunningServer::shutdown`] is the orderly way.
pub struct RunningServer {
    config: Config,
    application: Application,
    bound: Vec<Bound>,
    stopping: CancellationToken,
    connections: TaskTracker,
}

/// An address that a server listens on.
pub struct Bound {
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
}

impl Bound {
    pub(crate) fn new(address: SocketAddr, certificate: Option<Arc<Certificate>>) -> Self {
        Self { address, certificate }
    }

    /// The address, with the port that the system chose if it was left to it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL without a path.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

impl RunningServer {
    pub(crate) fn new(
        config: Config,
        application: Application,
        bound: Vec<Bound>,
        stopping: CancellationToken,
        connections: TaskTracker,
    ) -> Self {
        Self { config, application, bound, stopping, connections }
    }

    /// The addresses, in the order of the configuration's listeners.
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

    /// The database that it writes to. What is written through this reaches the server's clients as everything else does.
    pub fn database(&self) -> &Database {
        self.application.database()
    }

    /// Has the server's metrics tell of the traces of this process, which belong to no single server.
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
        for (bound, new) in self.bound.iter().zip(&certificates) {
            if let (Some(old), Some(new)) = (&bound.certificate, new) {
                old.replace(new);
            }
        }
        self.application.reconfigure(&new.config);
        self.config.apply(&new.config);
        Ok(changes)
    }

    /// Stops accepting, releases waiting requests, lets the rest finish within `server.shutdown_timeout`, and closes the
    /// database.
    pub async fn shutdown(self) {
        self.stopping.cancel();
        self.connections.close();
        self.connections.wait().await;
        self.application.close().await;
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
