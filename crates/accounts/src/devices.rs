//! A user's devices.

use std::collections::BTreeSet;
use std::sync::Arc;

use homeserver_core::UserSn;
pub use storage::Device;
use storage::{Database, StorageError};

use crate::sessions::Sessions;

/// The longest name of a device, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// Most devices that can be deleted at once.
const MAX_DELETED: usize = 1_000;

/// Why something could not be done with a device.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// The user has no such device.
    #[error("You have no device with this ID")]
    NoSuchDevice,
    /// The name is too long.
    #[error("A device's display name has at most {MAX_NAME_CHARS} characters")]
    NameTooLong,
    /// Too many devices in one request.
    #[error("At most {MAX_DELETED} devices can be deleted at once")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What users do with their devices.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#device-management>
pub struct Devices {
    database: Database,
    sessions: Arc<Sessions>,
}

impl Devices {
    /// The devices stored in `database`.
    #[must_use]
    pub fn new(database: Database, sessions: Arc<Sessions>) -> Self {
        Self { database, sessions }
    }

    /// All devices of a user.
    ///
    /// # Errors
    /// [`DevicesError::Storage`].
    pub async fn all(&self, user_sn: UserSn) -> Result<Vec<Device>, DevicesError> {
        let mut devices = self.database.devices(user_sn).await?;
        self.sessions.unwritten_uses(&mut devices);
        Ok(devices)
    }

    /// One device of a user.
    ///
    /// # Errors
    /// [`DevicesError::NoSuchDevice`].
    pub async fn one(&self, user_sn: UserSn, device_id: &str) -> Result<Device, DevicesError> {
        let mut device = self.database.device(user_sn, device_id).await?.ok_or(DevicesError::NoSuchDevice)?;
        self.sessions.unwritten_uses(std::slice::from_mut(&mut device));
        Ok(device)
    }

    /// Changes what a device is called.
    ///
    /// # Errors
    /// [`DevicesError`].
    pub async fn rename(&self, user_sn: UserSn, device_id: String, name: Option<String>) -> Result<(), DevicesError> {
        if name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME_CHARS) {
            return Err(DevicesError::NameTooLong);
        }
        let renamed = self.database.rename_device(user_sn, device_id, name).await?;
        if renamed { Ok(()) } else { Err(DevicesError::NoSuchDevice) }
    }

    /// Those of the devices that the user has.
    ///
    /// # Errors
    /// [`DevicesError`].
    pub async fn existing(&self, user_sn: UserSn, device_ids: Vec<String>) -> Result<BTreeSet<String>, DevicesError> {
        if device_ids.len() > MAX_DELETED {
            return Err(DevicesError::TooMany);
        }
        let existing = self.database.existing_devices(user_sn, &device_ids).await?;
        Ok(existing.into_iter().collect())
    }

    /// Deletes devices and ends their sessions. Those that do not exist are deleted already.
    ///
    /// # Errors
    /// [`DevicesError`].
    pub async fn delete(&self, user_sn: UserSn, device_ids: Vec<String>) -> Result<(), DevicesError> {
        if device_ids.len() > MAX_DELETED {
            return Err(DevicesError::TooMany);
        }
        Ok(self.sessions.delete_devices(user_sn, device_ids).await?)
    }
}
