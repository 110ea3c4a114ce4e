//! Rooms that are shared with other servers.

use std::sync::Arc;

use accounts::{asking::Shares, rate_limits::LimitedAction};
use api::state::{EncryptionComponents, ReplicationComponents, SyncComponents};
use encryption::device_lists::RemoteDeviceLists;
use replication::{
    edus::{EduReceiver, EduReceivers},
    memberships::{SharedMemberships, SharedMembershipsParts},
    outbox::Outbox,
    receiving::{Receiving, ReceivingParts},
    requests::RoomRequests,
    resident::{Resident, ResidentParts},
};

use super::{federation::FederationParts, foundation::Foundation, log::LogParts, rooms::RoomsParts};

pub(super) fn components(
    foundation: &Foundation,
    rooms: &RoomsParts,
    federation: &FederationParts,
    (log, sync, encryption): (&LogParts, &SyncComponents, &EncryptionComponents),
    outbox: Option<Arc<Outbox>>,
) -> ReplicationComponents {
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
        keys: federation.keys.clone(),
        shares: Shares::new(LimitedAction::RemoteQueries, rate_limits.clone(), heavy_work.remote_queries.clone()),
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
        edus: Arc::new(edu_receivers(foundation, log, sync, encryption)),
    };
    ReplicationComponents {
        outbox,
        receiving: Receiving::new(receiving),
        room_requests: requests,
        resident: Arc::new(Resident::new(resident)),
        shared_memberships,
    }
}

/// Who takes what other servers tell beside events.
fn edu_receivers(
    foundation: &Foundation,
    log: &LogParts,
    sync: &SyncComponents,
    encryption: &EncryptionComponents,
) -> EduReceivers {
    let Foundation { database, interned, .. } = foundation;
    let receivers: [Arc<dyn EduReceiver>; 4] =
        [sync.typing.clone(), sync.receipts.clone(), sync.presences.clone(), encryption.to_device.clone()];
    let device_lists = RemoteDeviceLists::receivers(database, interned, &log.user_rooms);
    EduReceivers::new(receivers.into_iter().chain(device_lists))
}
