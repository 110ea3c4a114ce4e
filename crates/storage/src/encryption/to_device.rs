//! Messages from device to device, which wait until the receiving device has proven to have them.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use homeserver_core::{DeviceSn, Position, Timestamp, UserSn};

use super::to_device_outbox::{self, ToDeviceForServer};
use crate::frequent::Frequent;
use crate::log::{DeviceChange, LogEntry};
use crate::{Database, Row, StorageError, TransactionSender, Tx, Value, params};
use database::ROWS_AT_ONCE;

/// Messages that are sent with one request.
#[derive(Clone, Debug)]
pub struct ToDeviceSend {
    /// Who sends them.
    pub sender: TransactionSender,
    /// The type of the messages, which is part of the scope of the transaction ID.
    pub event_type: Box<str>,
    /// The transaction ID. What was sent under it before is not sent again.
    pub transaction_id: Box<str>,
    /// When they are sent.
    pub sent_at: Timestamp,
    /// One for each receiving device at most.
    pub messages: Vec<NewToDeviceMessage>,
    /// One for each other server at most.
    pub to_servers: Vec<ToDeviceForServer>,
}

/// A message to a device.
#[derive(Clone, Debug)]
pub struct NewToDeviceMessage {
    /// The receiving device.
    pub device_sn: DeviceSn,
    /// Whose device it is.
    pub user_sn: UserSn,
    /// The device's ID. The number of a deleted device may be given to another one.
    pub device_id: Box<str>,
    /// The JSON that the device is shown.
    pub event: Bytes,
}

/// A device that can receive messages.
#[derive(Clone, Debug)]
pub struct ToDeviceDevice {
    /// Its number.
    pub device_sn: DeviceSn,
    /// Whose it is.
    pub user_sn: UserSn,
    /// Its ID.
    pub device_id: Box<str>,
    /// How many messages wait for it.
    pub waiting_messages: i64,
    /// How many bytes wait for it.
    pub waiting_bytes: i64,
}

impl Database {
    /// The devices of users, with what waits for each.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn to_device_devices(&self, users: &[i64]) -> Result<Vec<ToDeviceDevice>, StorageError> {
        let sql = "SELECT d.device_sn, d.user_sn, d.device_id, COALESCE(q.messages, 0), COALESCE(q.bytes, 0) FROM devices d \
                   LEFT JOIN to_device_queues q ON q.device_sn = d.device_sn WHERE d.user_sn IN LIST($1) ORDER BY d.device_sn";
        self.query(sql, params![users], |row| {
            Ok(ToDeviceDevice {
                device_sn: row.get(0)?,
                user_sn: row.get(1)?,
                device_id: row.get(2)?,
                waiting_messages: row.get(3)?,
                waiting_bytes: row.get(4)?,
            })
        })
        .await
    }

    /// Whether messages were sent under this transaction ID.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_sent_to_devices(
        &self,
        sender: TransactionSender,
        event_type: &str,
        transaction_id: &str,
    ) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM to_device_transactions WHERE sender = $1 AND event_type = $2 AND transaction_id = $3";
        let found = self.query_optional(sql, params![sender.code(), event_type, transaction_id], |_| Ok(())).await?;
        Ok(found.is_some())
    }

    /// Sends messages to devices, unless their transaction ID was used before. Those to devices that are deleted by then are dropped.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn send_to_devices(&self, send: ToDeviceSend) -> Result<(), StorageError> {
        self.write_frequent(Frequent::ToDevice(send), "send_to_devices").await
    }

    /// A device has proven to have all messages up to `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_delivered_to_device(&self, device_sn: DeviceSn, until: Position) -> Result<(), StorageError> {
        self.write_frequent(Frequent::ToDeviceDelivered(device_sn, until), "remove_delivered_to_device").await
    }

    /// Where in the log the oldest message was sent that waits for a device.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn oldest_to_device(&self, device_sn: DeviceSn) -> Result<Option<Position>, StorageError> {
        let sql = "SELECT position FROM to_device_messages WHERE device_sn = $1 ORDER BY position LIMIT 1";
        self.query_optional(sql, params![device_sn], |row| row.get(0)).await
    }

    /// The first `limit` messages to a device after `after` and up to `until`, oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn to_device_messages(
        &self,
        device_sn: DeviceSn,
        after: Position,
        until: Position,
        limit: i64,
    ) -> Result<Vec<(Position, Bytes)>, StorageError> {
        let sql = "SELECT position, event FROM to_device_messages \
                   WHERE device_sn = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4";
        self.query(sql, params![device_sn, after, until, limit], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// Forgets up to `limit` transaction IDs that were used before `sent_before`. Tells how many.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_old_to_device_transactions(
        &self,
        sent_before: Timestamp,
        limit: i64,
    ) -> Result<u64, StorageError> {
        let find = "SELECT sent_at FROM to_device_transactions WHERE sent_at < $1 ORDER BY sent_at LIMIT $2";
        let found = self.query(find, params![sent_before, limit], |row| row.get::<Timestamp>(0)).await?;
        let Some(last) = found.last().copied() else { return Ok(0) };
        let sql = "DELETE FROM to_device_transactions WHERE sent_at <= $1";
        self.write(async move |tx| tx.execute(sql, params![last]).await).await
    }
}

/// Writes what is sent to devices, in its order. The log is held.
pub(crate) async fn write_sent(tx: &mut Tx, sends: &[&ToDeviceSend]) -> Result<(), StorageError> {
    if sends.is_empty() {
        return Ok(());
    }
    let new = new_sends(tx, sends).await?;
    tx.reserve_positions(i64::try_from(new.len()).unwrap_or(i64::MAX)).await?;
    let mut rows: Vec<Vec<Value<'_>>> = Vec::new();
    let mut queues: BTreeMap<DeviceSn, (UserSn, &str, i64, i64)> = BTreeMap::new();
    let mut to_servers = Vec::new();
    for send in new {
        let position = tx.next_position().await?;
        to_servers.extend(send.to_servers.iter().map(|edu| (position, edu)));
        for message in &send.messages {
            let NewToDeviceMessage { device_sn, user_sn, device_id, event } = message;
            let key = [(*device_sn).into(), (*user_sn).into(), device_id.into()];
            rows.push(key.into_iter().chain([position.into(), event.into()]).collect());
            let (_, _, messages, bytes) = queues.entry(*device_sn).or_insert((*user_sn, device_id, 0, 0));
            *messages += 1;
            *bytes += i64::try_from(event.len()).unwrap_or(i64::MAX);
        }
        let devices = send.messages.iter().map(|message| (message.user_sn, message.device_sn)).collect();
        tx.publish(LogEntry::Devices { position, devices, change: DeviceChange::Messages });
    }
    to_device_outbox::write(tx, &to_servers).await?;
    // A device that was deleted meanwhile gets nothing.
    let insert = "INSERT INTO to_device_messages (device_sn, position, event) SELECT d.device_sn, r.position, r.event \
                  FROM ROWS(device_sn, user_sn, device_id, position, event) r JOIN devices d \
                  ON d.device_sn = r.device_sn AND d.user_sn = r.user_sn AND d.device_id = r.device_id";
    for rows in rows.chunks(ROWS_AT_ONCE) {
        tx.execute_rows(insert, rows).await?;
    }
    let rows: Vec<Vec<Value<'_>>> = queues
        .into_iter()
        .map(|(device_sn, (user_sn, device_id, messages, bytes))| {
            vec![device_sn.into(), user_sn.into(), device_id.into(), messages.into(), bytes.into()]
        })
        .collect();
    let count = "INSERT INTO to_device_queues (device_sn, messages, bytes) SELECT d.device_sn, r.messages, r.bytes \
                 FROM ROWS(device_sn, user_sn, device_id, messages, bytes) r JOIN devices d \
                 ON d.device_sn = r.device_sn AND d.user_sn = r.user_sn AND d.device_id = r.device_id WHERE TRUE \
                 ON CONFLICT (device_sn) DO UPDATE SET messages = to_device_queues.messages + excluded.messages, \
                 bytes = to_device_queues.bytes + excluded.bytes";
    for rows in rows.chunks(ROWS_AT_ONCE) {
        tx.execute_rows(count, rows).await?;
    }
    Ok(())
}

/// Those whose transaction IDs are new, in their order. The IDs are stored.
async fn new_sends<'a>(tx: &mut Tx, sends: &[&'a ToDeviceSend]) -> Result<Vec<&'a ToDeviceSend>, StorageError> {
    let rows: Vec<Vec<Value<'_>>> = sends
        .iter()
        .map(|send| {
            let sender = send.sender.code();
            vec![sender.into(), (&send.event_type).into(), (&send.transaction_id).into(), send.sent_at.into()]
        })
        .collect();
    let insert = "INSERT INTO to_device_transactions (sender, event_type, transaction_id, sent_at) \
                  SELECT r.sender, r.event_type, r.transaction_id, r.sent_at \
                  FROM ROWS(sender, event_type, transaction_id, sent_at) r WHERE TRUE \
                  ON CONFLICT DO NOTHING RETURNING sender, event_type, transaction_id";
    let read = |row: &Row<'_>| Ok((row.get::<i64>(0)?, row.get::<Box<str>>(1)?, row.get::<Box<str>>(2)?));
    let mut stored: HashSet<(i64, Box<str>, Box<str>)> =
        tx.query_rows(insert, &rows, read).await?.into_iter().collect();
    // Of two with the same ID in this batch the first one is sent.
    let is_new = |send: &&&ToDeviceSend| {
        stored.remove(&(send.sender.code(), send.event_type.clone(), send.transaction_id.clone()))
    };
    Ok(sends.iter().filter(is_new).copied().collect())
}

/// Removes the messages that devices have. The log is held.
pub(crate) async fn remove_delivered(tx: &mut Tx, delivered: &[(DeviceSn, Position)]) -> Result<(), StorageError> {
    let mut latest: BTreeMap<DeviceSn, Position> = BTreeMap::new();
    for (device_sn, until) in delivered {
        let known = latest.entry(*device_sn).or_insert(*until);
        *known = (*known).max(*until);
    }
    let rows: Vec<Vec<Value<'_>>> =
        latest.iter().map(|(device, until)| vec![(*device).into(), (*until).into()]).collect();
    let delete = "DELETE FROM to_device_messages WHERE (device_sn, position) IN (SELECT m.device_sn, m.position \
                  FROM ROWS(device_sn, position) r JOIN to_device_messages m \
                  ON m.device_sn = r.device_sn AND m.position <= r.position) \
                  RETURNING device_sn, CAST(LENGTH(event) AS BIGINT)";
    let read = |row: &Row<'_>| Ok((row.get::<DeviceSn>(0)?, row.get::<i64>(1)?));
    let mut removed: BTreeMap<DeviceSn, (i64, i64)> = BTreeMap::new();
    for (device_sn, length) in tx.query_rows(delete, &rows, read).await? {
        let (messages, bytes) = removed.entry(device_sn).or_default();
        *messages += 1;
        *bytes += length;
    }
    let rows: Vec<Vec<Value<'_>>> = removed
        .into_iter()
        .map(|(device_sn, (messages, bytes))| vec![device_sn.into(), messages.into(), bytes.into()])
        .collect();
    let count = "UPDATE to_device_queues SET messages = to_device_queues.messages - r.messages, \
                 bytes = to_device_queues.bytes - r.bytes FROM ROWS(device_sn, messages, bytes) r \
                 WHERE to_device_queues.device_sn = r.device_sn";
    tx.execute_rows(count, &rows).await
}
