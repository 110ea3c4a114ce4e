//! What other servers are sent.

use std::sync::Arc;

use config::Config;
use replication::{
    edus::outbound::OutboundEdus,
    outbox::{Outbox, OutboxParts},
};
use telemetry::OutboxMetrics;

use super::{federation::FederationParts, foundation::Foundation, log::LogParts};
use crate::StartError;

/// Begins to send what other servers do not have yet, unless this server talks to none.
pub(super) fn start(
    config: &Config,
    foundation: &Foundation,
    log: &LogParts,
    federation: &FederationParts,
) -> Result<Option<Arc<Outbox>>, StartError> {
    if !config.federation.enabled {
        return Ok(None);
    }
    let metrics = OutboxMetrics::new(&foundation.metrics)?;
    let Foundation { database, interned, clock, identity, .. } = foundation;
    let edus = OutboundEdus::new(
        database.clone(),
        interned.clone(),
        log.user_rooms.clone(),
        clock.clone(),
        identity.server_name.clone(),
    );
    let parts = OutboxParts {
        database: database.clone(),
        interned: interned.clone(),
        edus,
        tail: log.tail.clone(),
        room_servers: log.room_servers.clone(),
        client: federation.client.clone(),
        reachability: federation.reachability.clone(),
        clock: clock.clone(),
        server_name: identity.server_name.clone(),
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
    Ok(Some(outbox))
}
