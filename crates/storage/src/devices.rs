//! Devices of this server's users.

use std::collections::BTreeMap;

use database::ROWS_AT_ONCE;
use homeserver_core::{DeviceSn, Timestamp, UserSn};

use crate::frequent::Frequent;
use crate::tokens::TokenHash;
use crate::{Database, Row, StorageError, Tx, Value, params};

/// A device of a user.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its number.
    pub device_sn: DeviceSn,
    /// Its ID, unique for the user.
    pub device_id: String,
    /// What the user calls it.
    pub display_name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_seen_at: Option<Timestamp>,
    /// The IP address from which it was last used.
    pub last_seen_address: Option<String>,
}

/// A device was used.
#[derive(Clone, Debug)]
pub struct LastSeen {
    /// Which.
    pub device_sn: DeviceSn,
    /// When.
    pub at: Timestamp,
    /// From which IP address.
    pub address: Option<String>,
}

fn read_device(row: &Row<'_>) -> Result<Device, StorageError> {
    Ok(Device {
        device_sn: row.get(0)?,
        device_id: row.get(1)?,
        display_name: row.get(2)?,
        created_at: row.get(3)?,
        last_seen_at: row.get(4)?,
        last_seen_address: row.get(5)?,
    })
}

impl Database {
    /// All devices of a user, oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn devices(&self, user_sn: UserSn) -> Result<Vec<Device>, StorageError> {
        let sql = "SELECT device_sn, device_id, display_name, created_at, last_seen_at, last_seen_address FROM devices \
                   WHERE user_sn = $1 ORDER BY device_sn";
        self.query(sql, params![user_sn], read_device).await
    }

    /// One device of a user.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn device(&self, user_sn: UserSn, device_id: &str) -> Result<Option<Device>, StorageError> {
        let sql = "SELECT device_sn, device_id, display_name, created_at, last_seen_at, last_seen_address FROM devices \
                   WHERE user_sn = $1 AND device_id = $2";
        self.query_optional(sql, params![user_sn, device_id], read_device).await
    }

    /// Those of these IDs that are of devices of the user.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn existing_devices(&self, user_sn: UserSn, device_ids: &[String]) -> Result<Vec<String>, StorageError> {
        let sql = "SELECT device_id FROM devices WHERE user_sn = $1 AND device_id IN LIST($2)";
        self.query(sql, params![user_sn, device_ids], |row| row.get(0)).await
    }

    /// Changes what a device is called. Returns whether there is such a device.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn rename_device(
        &self,
        user_sn: UserSn,
        device_id: String,
        name: Option<String>,
    ) -> Result<bool, StorageError> {
        let sql = "UPDATE devices SET display_name = $3 WHERE user_sn = $1 AND device_id = $2";
        self.write(async move |tx| {
            tx.hold_log().await?;
            tx.note_renamed_device(user_sn, &device_id).await?;
            Ok(tx.execute(sql, params![user_sn, &device_id, &name]).await? > 0)
        })
        .await
    }

    /// Deletes those of the devices that exist, with their tokens. Returns the hashes of the access tokens.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn delete_devices(
        &self,
        user_sn: UserSn,
        device_ids: Vec<String>,
    ) -> Result<Vec<TokenHash>, StorageError> {
        let sql = "SELECT device_sn FROM devices WHERE user_sn = $1 AND device_id IN LIST($2) FOR_UPDATE";
        self.write(async move |tx| {
            tx.note_account_change(user_sn).await?;
            let devices = tx.query(sql, params![user_sn, &device_ids], |row| row.get::<i64>(0)).await?;
            tx.delete_devices(&devices).await
        })
        .await
    }

    /// Deletes all devices of a user, but for `except`, with their tokens. Returns the hashes of the access tokens.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn delete_all_devices(
        &self,
        user_sn: UserSn,
        except: Option<DeviceSn>,
    ) -> Result<Vec<TokenHash>, StorageError> {
        self.write(async move |tx| {
            tx.note_account_change(user_sn).await?;
            tx.delete_all_devices(user_sn, except).await
        })
        .await
    }

    /// Remembers when and from where devices were last used.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn record_last_seen(&self, seen: Vec<LastSeen>) -> Result<(), StorageError> {
        self.write_frequent(Frequent::LastSeen(seen), "record_last_seen").await
    }
}

/// Writes when devices were last used, the latest time of each.
pub(crate) async fn write_last_seen(tx: &mut Tx, seen: &[&LastSeen]) -> Result<(), StorageError> {
    // In the order of their numbers, so that two nodes do not wait for each other.
    let mut latest: BTreeMap<DeviceSn, &LastSeen> = BTreeMap::new();
    for use_of_device in seen {
        let known = latest.entry(use_of_device.device_sn).or_insert(use_of_device);
        if known.at <= use_of_device.at {
            *known = use_of_device;
        }
    }
    let rows: Vec<Vec<Value<'_>>> =
        latest.values().map(|it| vec![it.device_sn.into(), it.at.into(), (&it.address).into()]).collect();
    let sql = "UPDATE devices SET last_seen_at = r.seen_at, last_seen_address = r.address \
               FROM ROWS(device_sn, seen_at, address) r WHERE devices.device_sn = r.device_sn \
               AND (devices.last_seen_at IS NULL OR devices.last_seen_at <= r.seen_at)";
    for rows in rows.chunks(ROWS_AT_ONCE) {
        tx.execute_rows(sql, rows).await?;
    }
    Ok(())
}

impl Tx {
    /// The device of this ID, made if the user has none, and used from `address` just now. A name is given only to a new one. If it was kept
    /// for clients to come, it is used by one now.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn ensure_device(
        &mut self,
        user_sn: UserSn,
        device_id: &str,
        display_name: Option<&str>,
        address: Option<&str>,
        now: Timestamp,
    ) -> Result<DeviceSn, StorageError> {
        let sql = "INSERT INTO devices (user_sn, device_id, display_name, created_at, last_seen_at, last_seen_address) \
                   VALUES ($1, $2, $3, $4, $4, $5) ON CONFLICT (user_sn, device_id) DO UPDATE SET \
                   last_seen_at = excluded.last_seen_at, last_seen_address = excluded.last_seen_address RETURNING device_sn";
        let values = params![user_sn, device_id, display_name, now, address];
        let device_sn: Option<DeviceSn> = self.query_optional(sql, values, |row| row.get(0)).await?;
        self.execute("DELETE FROM dehydrated_devices WHERE device_sn = $1", params![device_sn]).await?;
        device_sn.ok_or_else(|| StorageError::Statement(format!("device {device_id} of user {user_sn} was not stored")))
    }

    pub(crate) async fn delete_all_devices(
        &mut self,
        user_sn: UserSn,
        except: Option<DeviceSn>,
    ) -> Result<Vec<TokenHash>, StorageError> {
        self.delete_login_tokens(user_sn).await?;
        let sql = "SELECT device_sn FROM devices WHERE user_sn = $1 AND device_sn <> $2 FOR_UPDATE";
        let except = except.map_or(-1, |device| device.0);
        let devices = self.query(sql, params![user_sn, except], |row| row.get::<i64>(0)).await?;
        self.delete_devices(&devices).await
    }

    pub(crate) async fn delete_devices(&mut self, devices: &[i64]) -> Result<Vec<TokenHash>, StorageError> {
        if devices.is_empty() {
            return Ok(Vec::new());
        }
        let tokens = self.delete_tokens(devices).await?;
        self.execute("DELETE FROM client_transactions WHERE sender IN LIST($1)", params![devices]).await?;
        self.remove_encryption_of_devices(devices).await?;
        self.execute("DELETE FROM devices WHERE device_sn IN LIST($1)", params![devices]).await?;
        Ok(tokens)
    }
}
