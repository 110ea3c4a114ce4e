//! The identity keys of devices, and what a device uploads at once.

use bytes::Bytes;
use homeserver_core::{DeviceSn, UserSn};

use super::one_time_keys::{KeyCounts, NewKey};
use crate::{Database, StorageError, Tx, params};

/// What a device uploads with one request.
#[derive(Clone, Debug)]
pub struct KeysUpload {
    /// The device.
    pub device_sn: DeviceSn,
    /// Whose it is.
    pub user_sn: UserSn,
    /// The identity keys, canonical JSON.
    pub device_keys: Option<Bytes>,
    /// Keys that are given out once each.
    pub one_time_keys: Vec<NewKey>,
    /// Keys that are given out when there are no others, one of each algorithm.
    pub fallback_keys: Vec<NewKey>,
    /// The most one-time keys that the device may have.
    pub max_one_time_keys: i64,
}

/// Why nothing of an upload was stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UploadConflict {
    /// Another key is stored under this algorithm and ID.
    OtherKey {
        /// The algorithm.
        algorithm: Box<str>,
        /// The key's ID.
        key_id: Box<str>,
    },
    /// The device would have too many one-time keys.
    TooMany,
    /// The device was deleted.
    NoDevice,
}

/// The identity keys of a device.
#[derive(Clone, Debug)]
pub struct StoredDeviceKeys {
    /// Whose device it is.
    pub user_sn: UserSn,
    /// The device's ID.
    pub device_id: Box<str>,
    /// What the user calls it.
    pub display_name: Option<String>,
    /// Canonical JSON as the device signed it.
    pub keys: Bytes,
}

impl Database {
    /// The identity keys of all devices of users.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn device_keys(&self, users: &[i64]) -> Result<Vec<StoredDeviceKeys>, StorageError> {
        let sql = "SELECT k.user_sn, d.device_id, d.display_name, k.keys FROM device_keys k \
                   JOIN devices d ON d.device_sn = k.device_sn WHERE k.user_sn IN LIST($1) ORDER BY k.device_sn";
        self.query(sql, params![users], |row| {
            Ok(StoredDeviceKeys {
                user_sn: row.get(0)?,
                device_id: row.get(1)?,
                display_name: row.get(2)?,
                keys: row.get(3)?,
            })
        })
        .await
    }

    /// Stores what a device uploads, all of it or nothing. Keys that are stored already stay as they are. Returns which keys are left.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn upload_keys(&self, upload: KeysUpload) -> Result<Result<KeyCounts, UploadConflict>, StorageError> {
        self.write(async move |tx| {
            tx.hold_log().await?;
            if !tx.has_device(upload.device_sn, upload.user_sn).await? {
                return Ok(Err(UploadConflict::NoDevice));
            }
            // Refused before anything is written: what a write has done before it returns is committed.
            let new = match tx.new_one_time_keys(&upload).await? {
                Ok(new) => new,
                Err(conflict) => return Ok(Err(conflict)),
            };
            tx.set_device_keys(&upload).await?;
            tx.add_keys(&upload, &new).await?;
            Ok(Ok(tx.key_counts(upload.device_sn).await?))
        })
        .await
    }
}

impl Tx {
    async fn has_device(&mut self, device_sn: DeviceSn, user_sn: UserSn) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM devices WHERE device_sn = $1 AND user_sn = $2";
        Ok(self.query_optional(sql, params![device_sn, user_sn], |_| Ok(())).await?.is_some())
    }

    pub(super) async fn set_device_keys(&mut self, upload: &KeysUpload) -> Result<(), StorageError> {
        let Some(keys) = &upload.device_keys else { return Ok(()) };
        let sql = "INSERT INTO device_keys (device_sn, user_sn, keys) VALUES ($1, $2, $3) \
                   ON CONFLICT (device_sn) DO UPDATE SET keys = excluded.keys WHERE device_keys.keys <> excluded.keys";
        if self.execute(sql, params![upload.device_sn, upload.user_sn, keys]).await? > 0 {
            self.note_device_list_change(upload.user_sn).await?;
        }
        Ok(())
    }

    /// A device has another name, which all see who know of it.
    pub(crate) async fn note_renamed_device(&mut self, user_sn: UserSn, device_id: &str) -> Result<(), StorageError> {
        let sql = "SELECT 1 FROM devices WHERE user_sn = $1 AND device_id = $2";
        if self.query_optional(sql, params![user_sn, device_id], |_| Ok(())).await?.is_some() {
            self.note_device_list_change(user_sn).await?;
        }
        Ok(())
    }
}
