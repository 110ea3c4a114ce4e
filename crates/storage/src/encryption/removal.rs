//! What goes with a device, and with an account.

use std::collections::BTreeSet;

use homeserver_core::{DeviceSn, UserSn};

use crate::log::{DeviceChange, LogEntry};
use crate::{Row, StorageError, Tx, Value, params};

/// What belongs to a device.
const OF_DEVICES: [&str; 5] = [
    "DELETE FROM to_device_messages WHERE device_sn IN LIST($1)",
    "DELETE FROM to_device_queues WHERE device_sn IN LIST($1)",
    "DELETE FROM one_time_keys WHERE device_sn IN LIST($1)",
    "DELETE FROM fallback_keys WHERE device_sn IN LIST($1)",
    "DELETE FROM dehydrated_devices WHERE device_sn IN LIST($1)",
];

/// What belongs to a user, beside the devices and the keys that others see.
const OF_USER: [&str; 3] = [
    "DELETE FROM key_signatures WHERE target_sn = $1",
    "DELETE FROM key_backup_sessions WHERE user_sn = $1",
    "DELETE FROM key_backups WHERE user_sn = $1",
];

impl Tx {
    /// Removes what belongs to devices that are about to be deleted, and tells those who encrypt for them. The log is held.
    pub(crate) async fn remove_encryption_of_devices(&mut self, devices: &[i64]) -> Result<(), StorageError> {
        let sql = "SELECT user_sn, device_sn, device_id FROM devices WHERE device_sn IN LIST($1)";
        let read = |row: &Row<'_>| Ok((row.get::<UserSn>(0)?, row.get::<DeviceSn>(1)?, row.get::<String>(2)?));
        let owned = self.query(sql, params![devices], read).await?;
        for sql in OF_DEVICES {
            self.execute(sql, params![devices]).await?;
        }
        self.execute("DELETE FROM to_device_transactions WHERE sender IN LIST($1)", params![devices]).await?;
        let sql = "DELETE FROM device_keys WHERE device_sn IN LIST($1) RETURNING user_sn";
        let changed: BTreeSet<UserSn> =
            self.query(sql, params![devices], |row| row.get(0)).await?.into_iter().collect();
        let sql = "DELETE FROM key_signatures WHERE (target_sn, target) IN \
                   (SELECT r.user_sn, r.device_id FROM ROWS(user_sn, device_id) r)";
        let signed = owned.iter().filter(|(user_sn, ..)| changed.contains(user_sn));
        let signed: Vec<Vec<Value<'_>>> =
            signed.map(|(user_sn, _, device_id)| vec![(*user_sn).into(), device_id.into()]).collect();
        self.execute_rows(sql, &signed).await?;
        let position = self.next_position().await?;
        let devices = owned.into_iter().map(|(user_sn, device_sn, _)| (user_sn, device_sn)).collect();
        self.publish(LogEntry::Devices { position, devices, change: DeviceChange::Deleted });
        for user_sn in changed {
            self.note_device_list_change(user_sn).await?;
        }
        Ok(())
    }

    /// Removes the keys of a user whose account is being closed, and the backup of keys.
    pub(crate) async fn remove_encryption_of_user(&mut self, user_sn: UserSn) -> Result<(), StorageError> {
        for sql in OF_USER {
            self.execute(sql, params![user_sn]).await?;
        }
        let sql = "DELETE FROM cross_signing_keys WHERE user_sn = $1";
        if self.execute(sql, params![user_sn]).await? > 0 {
            self.note_device_list_change(user_sn).await?;
        }
        Ok(())
    }
}
