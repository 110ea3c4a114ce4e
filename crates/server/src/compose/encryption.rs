use std::sync::Arc;

use accounts::{asking::Shares, rate_limits::LimitedAction};
use api::state::EncryptionComponents;
use encryption::{backup::Backups, device_lists::DeviceLists, keys::RemoteKeys};
use sync::v3::SyncedDevices;

use super::{federation::FederationParts, foundation::Foundation, log::LogParts};

/// Makes the components of end-to-end encryption.
pub(super) fn components(
    foundation: &Foundation,
    log: &LogParts,
    federation: &FederationParts,
) -> EncryptionComponents {
    let Foundation { database, interned, heavy_work, rate_limits, .. } = foundation;
    let limit = &heavy_work.remote_queries;
    let shares = Shares::new(LimitedAction::RemoteQueries, rate_limits.clone(), limit.clone());
    let device_lists = DeviceLists::new(
        database.clone(),
        interned.clone(),
        log.tail.clone(),
        log.user_rooms.clone(),
        log.states.clone(),
    );
    let (client, names) = (federation.client.clone(), interned.clone());
    EncryptionComponents {
        to_device: log.to_device.clone(),
        keys: log.keys.clone(),
        remote_keys: Arc::new(RemoteKeys::new(client, limit.clone(), shares, database.clone(), names)),
        backups: Arc::new(Backups::new(database.clone())),
        device_lists: Arc::new(device_lists),
    }
}

/// What `/sync` tells devices.
pub(super) fn synced_devices(components: &EncryptionComponents) -> SyncedDevices {
    let EncryptionComponents { to_device, keys, device_lists, .. } = components;
    SyncedDevices { to_device: to_device.clone(), keys: keys.clone(), device_lists: device_lists.clone() }
}
