use std::sync::Arc;

use api::state::{EncryptionComponents, SyncComponents};
use config::Config;
use sync::{
    presence::{PresenceOptions, Presences},
    providers::Providers,
    receipts::Receipts,
    v3::Sync,
};

use super::{encryption::synced_devices, foundation::Foundation, log::LogParts, observing};
use crate::StartError;

/// Makes the components of `/sync`. Presence follows the log from here on.
pub(super) async fn components(
    config: &Config,
    foundation: &Foundation,
    log: &LogParts,
    encryption: &EncryptionComponents,
) -> Result<SyncComponents, StartError> {
    let Foundation { database, interned, clock, .. } = foundation;
    let presences = Presences::start(
        database.clone(),
        interned.clone(),
        clock.clone(),
        log.user_rooms.clone(),
        log.wakeups.clone(),
        presence_options(config),
        &foundation.loops,
    );
    let presences = presences.await?;
    let providers = Providers {
        database: database.clone(),
        interned: interned.clone(),
        states: log.states.clone(),
        tail: log.tail.clone(),
        user_rooms: log.user_rooms.clone(),
        ignored_users: log.ignored_users.clone(),
        typing: log.typing.clone(),
        presences: presences.clone(),
    };
    let initial = foundation.heavy_work.initial_sync.clone();
    let sync = Sync::new(providers, clock.clone(), log.wakeups.clone(), initial, foundation.stopping.clone());
    let sync = Arc::new(sync.with_devices(synced_devices(encryption)));
    observing::observe_sync(&foundation.metrics, sync.clone());
    let receipts = Arc::new(Receipts::new(database.clone(), interned.clone(), clock.clone()));
    Ok(SyncComponents { sync, receipts, typing: log.typing.clone(), presences })
}

fn presence_options(config: &Config) -> PresenceOptions {
    let presence = &config.presence;
    PresenceOptions {
        enabled: presence.enabled,
        idle_after: presence.idle_after.duration(),
        offline_after: presence.offline_after.duration(),
    }
}
