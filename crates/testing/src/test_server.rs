//! A server inside the process of the test.

use std::sync::Arc;

use homeserver_core::Clock;
use storage::Database;
use synapse_rust::{RunningServer, StartOptions};

use crate::client::Client;
use crate::database::TestDatabase;
use crate::settings::{self, Setting};
use crate::user::User;

/// A server on a port of its own. It stops when this is dropped; [`shutdown`](Self::shutdown) also waits until it has.
pub struct TestServer {
    running: RunningServer,
    client: Client,
}

impl TestServer {
    /// Starts a server on `database`. Several can run at once, each on its own.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, &[]).await
    }

    /// Starts a server on `database` with `further` settings.
    ///
    /// # Panics
    /// When a setting is wrong, or it does not start.
    pub async fn start_with(database: &TestDatabase, further: &[Setting<'_>]) -> Self {
        Self::start_in(StartOptions::default(), database, further).await
    }

    /// Starts a server with another clock than the machine's.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_at(clock: Arc<dyn Clock>, database: &TestDatabase, further: &[Setting<'_>]) -> Self {
        Self::start_in(StartOptions { clock, ..StartOptions::default() }, database, further).await
    }

    async fn start_in(options: StartOptions, database: &TestDatabase, further: &[Setting<'_>]) -> Self {
        let running = synapse_rust::start_with(loaded(database, further), options).await;
        let running = running.unwrap_or_else(|error| panic!("the server did not start: {error}"));
        let client = Client::new(running.bound().first().expect("there is a listener").url());
        Self { running, client }
    }

    /// Reloads the configuration as SIGHUP does: the usual one, with `further` settings.
    ///
    /// # Panics
    /// When a setting is wrong.
    pub fn reload_with(&mut self, database: &TestDatabase, further: &[Setting<'_>]) {
        let reloaded = self.running.reload(&loaded(database, further));
        reloaded.unwrap_or_else(|error| panic!("the configuration was refused: {error}"));
    }

    /// A client of this server.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Makes an account by open registration.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn register(&self, name: &str) -> User {
        User::register(&self.client, name).await
    }

    /// The registration token that makes its holder an administrator, as long as there is no account.
    ///
    /// # Panics
    /// When the database fails.
    pub async fn first_account_token(&self) -> Option<String> {
        let token = self.running.first_account_token().await;
        token.unwrap_or_else(|error| panic!("the first account's token cannot be read: {error}"))
    }

    /// The server's own database: what is written to it reaches the server's clients.
    #[must_use]
    pub fn database(&self) -> Database {
        self.running.database().clone()
    }

    /// Stops the server as SIGTERM does, and waits until it has stopped.
    pub async fn shutdown(self) {
        self.running.shutdown().await;
    }
}

fn loaded(database: &TestDatabase, further: &[Setting<'_>]) -> config::Loaded {
    // No test of this server can end in a power loss, so none has to wait for the disk.
    let mut settings = vec![("database", "synchronous", "normal".into())];
    settings.extend_from_slice(further);
    let file = settings::write(database, &settings);
    // Not from the environment: it may configure a server too.
    let loaded = config::load(Some(&file), std::iter::empty::<(String, String)>());
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::on_both_databases! {
        async fn two_servers_run_in_one_process_and_a_stopped_one_can_be_started_again(db: TestDatabase) {
            let other_db = TestDatabase::sqlite();
            let (server, other) = (TestServer::start(&db).await, TestServer::start(&other_db).await);
            for client in [server.client(), other.client()] {
                assert!(client.get("/_matrix/client/versions").await.ok()["versions"].is_array());
            }
            let stopped = server.client();
            server.shutdown().await;
            stopped.get("/_matrix/client/versions").send().await.unwrap_err();
            other.client().get("/_matrix/client/versions").await.ok();

            let again = TestServer::start(&db).await;
            again.client().get("/_matrix/client/versions").await.ok();
        }
    }
}
