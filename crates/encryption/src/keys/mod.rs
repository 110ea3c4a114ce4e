//! The keys of devices and users.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#key-management-api>

mod claim;
mod cross_signing;
mod dehydrated;
mod for_servers;
mod query;
mod remote;
mod signatures;
mod signed;
mod upload;
mod user_keys;

use std::sync::Arc;

use homeserver_core::{Cache, Clock, DeviceSn, UserSn};
use ruma::OwnedServerName;
use storage::{Database, DeviceChange, Interned, KeyCounts, LogEntry, LogObserver, StorageError};

pub use self::claim::{ClaimAnswer, WantedKeys};
pub use self::cross_signing::{CrossSigningError, CrossSigningUpload};
pub use self::dehydrated::DehydratedDeviceUpload;
pub use self::for_servers::{ClaimedForServer, KeysForServer, UserDevices};
pub use self::query::{QueryAnswer, WantedDevices};
pub(crate) use self::remote::KeptKeys;
pub use self::remote::{Failure, Failures, RemoteKeys, RemoteKeysError};
pub use self::signatures::{NewSignatures, SignatureFailure, SignaturesAnswer};
pub use self::upload::{KeysUploadRequest, UploadError};
use self::user_keys::KnownUserKeys;

/// Stores the keys of devices and hands them out.
pub struct Keys {
    database: Database,
    interned: Arc<Interned>,
    clock: Arc<dyn Clock>,
    server_name: OwnedServerName,
    counts: Cache<DeviceSn, Arc<KeyCounts>>,
    users: Cache<UserSn, Arc<KnownUserKeys>>,
}

impl Keys {
    /// Keys in `database`, whose log it follows, of users of the server of this name.
    #[must_use]
    pub fn follow(
        database: &Database,
        interned: Arc<Interned>,
        clock: Arc<dyn Clock>,
        server_name: OwnedServerName,
    ) -> Arc<Self> {
        let counts = Cache::new(database.memory(), "key_counts");
        let users = Cache::new(database.memory(), "user_keys");
        let keys = Arc::new(Self { database: database.clone(), interned, clock, server_name, counts, users });
        database.observe(keys.clone());
        keys
    }

    /// Which keys of a device are left.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be counted.
    pub async fn counts(&self, device_sn: DeviceSn) -> Result<Arc<KeyCounts>, StorageError> {
        let count = async { Ok(Arc::new(self.database.key_counts(device_sn).await?)) };
        self.counts.get_or_load(&device_sn, count).await
    }
}

impl LogObserver<LogEntry> for Keys {
    fn committed(&self, entries: &[LogEntry]) {
        for entry in entries {
            match entry {
                LogEntry::Devices { devices, change: DeviceChange::OneTimeKeys | DeviceChange::Deleted, .. } => {
                    for (_, device_sn) in devices.iter() {
                        self.counts.remove(device_sn);
                    }
                }
                LogEntry::DeviceList { user_sn, .. } => {
                    self.users.remove(user_sn);
                }
                _ => {}
            }
        }
    }
}
