//! What clients need to encrypt for each other's devices.
//!
//! Writes that read first hold the log: all of them, on every node, come one after the other.

mod cross_signing;
mod dehydrated;
mod device_keys;
mod device_lists;
mod key_backup;
mod key_backup_removal;
mod one_time_keys;
mod remote_device_lists;
mod removal;
pub(crate) mod to_device;
mod to_device_outbox;

pub use cross_signing::{CrossSigningKey, CrossSigningUsage, KeySignature, NewKeySignature};
pub use dehydrated::{DehydratedDevice, NewDehydratedDevice};
pub use device_keys::{KeysUpload, StoredDeviceKeys, UploadConflict};
pub use key_backup::{BackedUpSession, KeyBackup, SessionFilter, StoredSessions};
pub use one_time_keys::{ClaimedKey, KeyCounts, NewKey, WantedKey};
pub use remote_device_lists::{RemoteDeviceList, ToldDeviceList};
pub use to_device::{NewToDeviceMessage, ToDeviceDevice, ToDeviceSend};
pub use to_device_outbox::{ServerQueue, ToDeviceForServer};
