//! When devices were last used, gathered for a while and then written together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{DeviceSn, Timestamp};
use parking_lot::Mutex;
use storage::{Database, Device, LastSeen, StorageError};

/// How long uses are gathered before they are written.
const GATHER: Duration = Duration::from_secs(20);
/// Most devices that wait to be written; those beyond are written at a later use.
const MAX_WAITING: usize = 10_000;

#[derive(Clone)]
pub(super) struct LastSeenQueue {
    database: Database,
    waiting: Arc<Mutex<HashMap<DeviceSn, LastSeen>>>,
}

impl LastSeenQueue {
    pub(super) fn new(database: Database) -> Self {
        Self { database, waiting: Arc::default() }
    }

    /// The first of a batch sees to it that the batch is written.
    pub(super) fn push(&self, device_sn: DeviceSn, at: Timestamp, address: Option<IpAddr>) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MAX_WAITING {
            return;
        }
        if waiting.is_empty() {
            let queue = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GATHER).await;
                if let Err(error) = queue.flush().await {
                    tracing::warn!(%error, "when devices were last seen was not written");
                }
            });
        }
        waiting.insert(device_sn, LastSeen { device_sn, at, address: address.map(|address| address.to_string()) });
    }

    /// Adds what waits to what is stored.
    pub(super) fn add_to(&self, devices: &mut [Device]) {
        let waiting = self.waiting.lock();
        for device in devices {
            if let Some(seen) = waiting.get(&device.device_sn) {
                device.last_seen_at = Some(seen.at);
                device.last_seen_address.clone_from(&seen.address);
            }
        }
    }

    pub(super) async fn flush(&self) -> Result<(), StorageError> {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if waiting.is_empty() {
            return Ok(());
        }
        self.database.record_last_seen(waiting.into_values().collect()).await
    }
}
