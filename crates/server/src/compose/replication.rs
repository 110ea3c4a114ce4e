//! Rooms that are shared with other servers.

use std::sync::Arc;

use accounts::{asking::Shares, rate_limits::LimitedAction};
use api::state::{EncryptionComponents, ReplicationComponents, SyncComponents};
use config::Config;
use encryption::device_lists::RemoteDeviceLists;
use federation::IdentityServers;
use replication::{
    backfill::{Backfill, BackfillParts},
    edus::{EduReceivers, outbound::OutboundEdus},
    hierarchy::{Hierarchies, HierarchiesParts},
    memberships::{SharedMemberships, SharedMembershipsParts},
    outbox::{Destinations, Outbox, OutboxParts},
    receiving::{Receiving, ReceivingParts},
    requests::RoomRequests,
    resident::{Resident, ResidentParts},
};
use rooms::summaries::Summaries;
use telemetry::OutboxMetrics;

use super::{federation::FederationParts, foundation::Foundation, log::LogParts, rooms::RoomsParts};
use crate::StartError;

pub(super) fn components(
    config: &Config,
    foundation: &Foundation,
    rooms: &RoomsParts,
    federation: &FederationParts,
    (log, sync, encryption): (&LogParts, &SyncComponents, &EncryptionComponents),
) -> Result<ReplicationComponents, StartError> {
    let Foundation { database, interned, identity, clock, rate_limits, heavy_work, .. } = foundation;
    let resident = ResidentParts {
        database: database.clone(),
        interned: interned.clone(),
        identity: identity.clone(),
        timeline: rooms.components.timeline.clone(),
        memberships: rooms.components.memberships.clone(),
        keys: federation.keys.clone(),
        rate_limits: rate_limits.clone(),
    };
    let requests = Arc::new(RoomRequests::new(federation.client.clone()));
    let memberships = SharedMembershipsParts {
        database: database.clone(),
        interned: interned.clone(),
        identity: identity.clone(),
        clock: clock.clone(),
        timeline: rooms.components.timeline.clone(),
        memberships: rooms.components.memberships.clone(),
        aliases: rooms.components.aliases.clone(),
        remote: federation.components.remote.clone(),
        requests: requests.clone(),
        identity_servers: IdentityServers::new(federation.web.clone(), config.federation.enabled),
        keys: federation.keys.clone(),
        shares: Shares::new(LimitedAction::RemoteQueries, rate_limits.clone(), heavy_work.remote_rooms.clone()),
        rate_limits: rate_limits.clone(),
    };
    let shared_memberships = Arc::new(SharedMemberships::new(memberships));
    let receiving = ReceivingParts {
        database: database.clone(),
        interned: interned.clone(),
        timeline: rooms.components.timeline.clone(),
        memberships: shared_memberships.clone(),
        keys: federation.keys.clone(),
        requests: requests.clone(),
        edus: Arc::new(edu_receivers(foundation, sync, encryption)),
    };
    let receiving = Receiving::new(receiving);
    start_outbox(config, foundation, log, federation)?;
    let backfill = BackfillParts {
        database: database.clone(),
        interned: interned.clone(),
        identity: identity.clone(),
        timeline: rooms.components.timeline.clone(),
        history: rooms.components.history.clone(),
        keys: federation.keys.clone(),
        requests: requests.clone(),
        receiving: receiving.clone(),
        shares: Shares::new(LimitedAction::RemoteQueries, rate_limits.clone(), heavy_work.remote_rooms.clone()),
    };
    let hierarchies = hierarchies(foundation, log, federation, &requests);
    Ok(ReplicationComponents {
        destinations: Arc::new(Destinations::new(database.clone(), federation.reachability.clone())),
        backfill: Arc::new(Backfill::new(backfill)),
        receiving,
        hierarchies: Arc::new(hierarchies),
        resident: Arc::new(Resident::new(resident)),
        shared_memberships,
    })
}

/// What shows spaces with their rooms.
fn hierarchies(
    foundation: &Foundation,
    log: &LogParts,
    federation: &FederationParts,
    requests: &Arc<RoomRequests>,
) -> Hierarchies {
    let Foundation { database, interned, identity, rate_limits, heavy_work, .. } = foundation;
    let parts = HierarchiesParts {
        identity: identity.clone(),
        summaries: Summaries::new(database.clone(), interned.clone(), log.room_servers.clone()),
        requests: requests.clone(),
        remote: federation.components.remote.clone(),
        shares: Shares::new(LimitedAction::RemoteQueries, rate_limits.clone(), heavy_work.remote_queries.clone()),
        reading: heavy_work.room_directory_search.clone(),
    };
    Hierarchies::new(parts, database.memory())
}

/// Begins to send what other servers do not have yet.
fn start_outbox(
    config: &Config,
    foundation: &Foundation,
    log: &LogParts,
    federation: &FederationParts,
) -> Result<(), StartError> {
    if !config.federation.enabled {
        return Ok(());
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
        edus: OutboundEdus::new(
            foundation.database.clone(),
            foundation.interned.clone(),
            log.user_rooms.clone(),
            foundation.clock.clone(),
            foundation.identity.server_name.clone(),
        ),
    };
    let outbox = Outbox::start(parts, &foundation.loops);
    foundation.metrics.before_reading(move || {
        let figures = outbox.figures();
        metrics.set_destinations(figures.destinations, figures.behind, figures.waiting);
        metrics.set_transactions(figures.transactions, figures.failures);
    });
    Ok(())
}

/// Who takes what other servers tell beside events.
fn edu_receivers(foundation: &Foundation, sync: &SyncComponents, encryption: &EncryptionComponents) -> EduReceivers {
    let Foundation { database, interned, clock, .. } = foundation;
    let [device_keys, signing_keys] = RemoteDeviceLists::receivers(database, interned, clock);
    EduReceivers::default()
        .with(sync.typing.clone())
        .with(sync.receipts.clone())
        .with(sync.presences.clone())
        .with(encryption.to_device.clone())
        .with(device_keys)
        .with(signing_keys)
}
