use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api::ApiState;
use axum::Router;
use config::{Config, Resource, Sources};
use storage::{Database, ServerLock};
use tasks::loops::Loops;
use telemetry::SpanCounts;

use super::{
    accounts::AccountsParts, federation::FederationParts, foundation::Foundation, log::LogParts, media::MediaParts,
    operations::OperationsParts, rooms::RoomsParts,
};
use crate::StartError;

/// The composed server, without its listeners.
pub(crate) struct Application {
    pub(super) state: ApiState,
    pub(super) foundation: Foundation,
    pub(super) operations: OperationsParts,
    pub(super) log: LogParts,
    pub(super) accounts: AccountsParts,
    pub(super) rooms: RoomsParts,
    pub(super) media: MediaParts,
    pub(super) federation: FederationParts,
    pub(super) is_federated: bool,
    pub(super) lock: ServerLock,
}

impl Application {
    /// The routers of these resources, as one.
    pub(crate) fn router(&self, resources: &BTreeSet<Resource>) -> Router {
        let is_served = |resource: &Resource| self.is_federated || *resource != Resource::Federation;
        let resources: Vec<_> = resources.iter().copied().filter(is_served).map(of_api).collect();
        let OperationsParts { components, health } = &self.operations;
        let (metrics, observer) = (self.foundation.metrics.clone(), components.observer.clone());
        let operations = api::ops::router(health.clone(), metrics, observer, &resources);
        api::router(self.state.clone(), &resources).merge(operations)
    }

    /// The token that makes the first account an administrator, as long as there is no account.
    pub(crate) async fn first_account_token(&self) -> Result<Option<String>, StartError> {
        Ok(self.accounts.components.registration.first_account_token().await?)
    }

    /// Counts the process's traces in the metrics.
    pub(crate) fn observe_traces(&self, counts: Arc<SpanCounts>) {
        self.foundation.metrics.observe_traces(counts);
    }

    /// What runs in the background.
    pub(crate) fn loops(&self) -> Loops {
        self.foundation.loops.clone()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.foundation.database
    }

    /// Applies what a running server can change, and nothing else: the keys that `config` lists as reloadable. Components read their
    /// settings without locks, so no request waits for a change.
    ///
    /// # Errors
    /// If something in it cannot be used; nothing has changed then.
    pub(crate) fn reconfigure(&self, config: &Config, sources: &Sources) -> Result<(), config::Error> {
        // First, because nothing else can fail.
        self.accounts.reconfigure(config, sources)?;
        self.rooms.reconfigure(config);
        self.log.reconfigure(config);
        self.media.reconfigure(config);
        self.federation.reconfigure(config);
        self.foundation.reconfigure(config);
        Ok(())
    }

    /// Gives jobs that run `grace` to end, and returns the others, which run again at the next start.
    pub(crate) async fn stop_jobs(&self, grace: Duration) {
        self.foundation.jobs.stop(grace).await;
    }

    /// Finishes what the components still have to write.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.accounts.components.sessions.flush().await {
            tracing::warn!(%error, "when devices were last seen was not written");
        }
        if let Some(node) = &self.foundation.node {
            node.leave().await;
        }
        self.foundation.database.close().await;
        // Last: the next server may start as soon as the lock is free, and this one must have written everything by then.
        self.lock.release();
    }
}

fn of_api(resource: Resource) -> api::Resource {
    match resource {
        Resource::Client => api::Resource::Client,
        Resource::Federation => api::Resource::Federation,
        Resource::Media => api::Resource::Media,
        Resource::Admin => api::Resource::Admin,
        Resource::Health => api::Resource::Health,
        Resource::Metrics => api::Resource::Metrics,
    }
}
