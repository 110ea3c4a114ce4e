//! Devices that are kept for clients to come: at most one of each user. Nobody is logged in by one, but others encrypt for it.

use bytes::Bytes;
use homeserver_core::{DeviceSn, Timestamp, UserSn};

use super::device_keys::KeysUpload;
use super::one_time_keys::NewKey;
use crate::{Database, StorageError, params};

/// A device that is to be kept.
#[derive(Clone, Debug)]
pub struct NewDehydratedDevice {
    /// Whose it is.
    pub user_sn: UserSn,
    /// Its ID.
    pub device_id: String,
    /// What to call it.
    pub display_name: Option<String>,
    /// What a client needs to use it, JSON that only clients read.
    pub device_data: Bytes,
    /// The identity keys, canonical JSON.
    pub device_keys: Bytes,
    /// Keys that are given out once each.
    pub one_time_keys: Vec<NewKey>,
    /// Keys that are given out when there are no others, one of each algorithm.
    pub fallback_keys: Vec<NewKey>,
    /// When it is stored.
    pub now: Timestamp,
}

/// A device that is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DehydratedDevice {
    /// Its number.
    pub device_sn: DeviceSn,
    /// Its ID.
    pub device_id: String,
    /// What a client needs to use it.
    pub device_data: Bytes,
}

const OF_USER: &str = "SELECT h.device_sn, d.device_id, h.device_data FROM dehydrated_devices h \
                       JOIN devices d ON d.device_sn = h.device_sn WHERE h.user_sn = $1";

impl Database {
    /// The device that is kept for a user, if there is one.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn dehydrated_device(&self, user_sn: UserSn) -> Result<Option<DehydratedDevice>, StorageError> {
        self.query_optional(OF_USER, params![user_sn], |row| {
            Ok(DehydratedDevice { device_sn: row.get(0)?, device_id: row.get(1)?, device_data: row.get(2)? })
        })
        .await
    }

    /// Keeps a device in place of the one before, which is deleted with all that belongs to it. `false` if the user has another device of
    /// this ID.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn put_dehydrated_device(&self, new: NewDehydratedDevice) -> Result<bool, StorageError> {
        let old = "SELECT device_sn FROM dehydrated_devices WHERE user_sn = $1";
        let taken = "SELECT d.device_sn FROM devices d WHERE d.user_sn = $1 AND d.device_id = $2 \
                     AND NOT EXISTS (SELECT 1 FROM dehydrated_devices h WHERE h.device_sn = d.device_sn)";
        let keep = "INSERT INTO dehydrated_devices (user_sn, device_sn, device_data) VALUES ($1, $2, $3)";
        self.write(async move |tx| {
            tx.hold_log().await?;
            let device = params![new.user_sn, &new.device_id];
            if tx.query_optional(taken, device, |row| row.get::<DeviceSn>(0)).await?.is_some() {
                return Ok(false);
            }
            let before: Vec<i64> = tx.query(old, params![new.user_sn], |row| row.get(0)).await?;
            tx.delete_devices(&before).await?;
            let name = new.display_name.as_deref();
            let device_sn = tx.ensure_device(new.user_sn, &new.device_id, name, None, new.now).await?;
            tx.execute(keep, params![new.user_sn, device_sn, &new.device_data]).await?;
            let upload = KeysUpload {
                device_sn,
                user_sn: new.user_sn,
                device_keys: Some(new.device_keys.clone()),
                one_time_keys: new.one_time_keys.clone(),
                fallback_keys: new.fallback_keys.clone(),
                max_one_time_keys: i64::MAX,
            };
            tx.set_device_keys(&upload).await?;
            let keys: Vec<&NewKey> = upload.one_time_keys.iter().collect();
            tx.add_keys(&upload, &keys).await?;
            Ok(true)
        })
        .await
    }
}
