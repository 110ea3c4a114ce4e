//! Rooms shared with other servers, as the configuration wants it.

use std::sync::Arc;

use config::Config;
use replication::outbox::{Outbox, OutboxParts};
use telemetry::OutboxMetrics;

use super::{federation::FederationParts, foundation::Foundation, log::LogParts};
use crate::StartError;

/// What shares rooms with other servers.
pub(crate) struct ReplicationParts {
    /// Sends events to them; `None` if this server does not talk to others.
    pub(super) outbox: Option<Arc<Outbox>>,
}

impl ReplicationParts {
    /// Begins to send what other servers do not have yet.
    pub(super) fn new(
        config: &Config,
        foundation: &Foundation,
        log: &LogParts,
        federation: &FederationParts,
    ) -> Result<Self, StartError> {
        if !config.federation.enabled {
            return Ok(Self { outbox: None });
        }
        let metrics = OutboxMetrics::new(&foundation.metrics)?;
        let parts = OutboxParts {
            database: foundation.database.clone(),
            interned: foundation.interned.clone(),
            tail: log.tail.clone(),
            room_servers: log.room_servers.clone(),
            client: federation.client.clone(),
            reachability: federation.reachability.clone(),
            clock: foundation.clock.clone(),
            server_name: foundation.identity.server_name.clone(),
        };
        let outbox = Outbox::start(parts, &foundation.loops);
        foundation.metrics.before_reading({
            let outbox = outbox.clone();
            move || {
                let figures = outbox.figures();
                metrics.set_destinations(figures.destinations, figures.behind, figures.waiting);
                metrics.set_transactions(figures.transactions, figures.failures);
            }
        });
        Ok(Self { outbox: Some(outbox) })
    }
}
