//! Messages from device to device.
//!
//! A message waits until its device asks `/sync` with a token that was given out after it. An answer is bounded: its token says how
//! far the messages were read, and the next request is answered at once with the rest.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging>

mod from_servers;
mod sending;
mod to_servers;

use std::sync::Arc;
use std::time::Duration;

use accounts::rate_limits::RateLimits;
use bytes::Bytes;
use homeserver_core::{Cache, Clock, DeviceSn, Position};
use storage::{Database, Engine, Interned, LogEntry, LogObserver, StorageError};

pub use self::sending::{ToDeviceError, ToDeviceMessages};

/// Messages in one answer to `/sync`.
const MAX_MESSAGES_AT_ONCE: i64 = 100;
/// Bytes of messages in one answer to `/sync`, unless the first one is larger.
const MAX_BYTES_AT_ONCE: usize = 512 << 10;

/// How long it is waited for what other nodes have written.
const CATCH_UP: Duration = Duration::from_secs(10);

/// What may wait for a device, and what one request may add for all.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Messages that wait for a device.
    pub messages: i64,
    /// Bytes of all messages that wait for a device.
    pub bytes: i64,
    /// Bytes that one request stores for all devices together: a short request can name many devices with `*`.
    pub request_bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages: 50_000, bytes: 64 << 20, request_bytes: 16 << 20 }
    }
}

/// Sends messages to devices, and hands them over.
pub struct ToDevice {
    database: Database,
    interned: Arc<Interned>,
    clock: Arc<dyn Clock>,
    limits: QueueLimits,
    rate_limits: Arc<RateLimits>,
    /// The oldest message that waits for a device, or that there is none.
    oldest: Cache<DeviceSn, Option<Position>>,
}

/// Messages for a device, the oldest first.
#[derive(Default, Debug)]
pub struct Delivery {
    /// Each as the device is shown it.
    pub events: Vec<Bytes>,
    /// Where in the log the last of them was sent, if there may be more.
    pub cut_at: Option<Position>,
}

impl ToDevice {
    /// Messages in `database`, whose log it follows. If this is started before what shows the log, a reader who sees the end of the
    /// log finds here what was sent up to there.
    #[must_use]
    pub fn follow(
        database: &Database,
        interned: Arc<Interned>,
        clock: Arc<dyn Clock>,
        limits: QueueLimits,
        rate_limits: Arc<RateLimits>,
    ) -> Arc<Self> {
        let oldest = Cache::new(database.memory(), "to_device_queues");
        let to_device = Arc::new(Self { database: database.clone(), interned, clock, limits, rate_limits, oldest });
        database.observe(to_device.clone());
        to_device
    }

    /// The device has proven to have all messages up to `until`.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be removed.
    pub async fn delivered(&self, device_sn: DeviceSn, until: Position) -> Result<(), StorageError> {
        if self.oldest(device_sn).await?.is_none_or(|oldest| oldest > until) {
            return Ok(());
        }
        self.database.remove_delivered_to_device(device_sn, until).await?;
        self.oldest.remove(&device_sn);
        Ok(())
    }

    /// The messages to a device after `after` and up to `until`, or the first of them.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn messages(
        &self,
        device_sn: DeviceSn,
        after: Position,
        until: Position,
    ) -> Result<Delivery, StorageError> {
        if self.oldest(device_sn).await?.is_none_or(|oldest| oldest > until) {
            return Ok(Delivery::default());
        }
        let limit = MAX_MESSAGES_AT_ONCE + 1;
        let found = self.database.to_device_messages(device_sn, after, until, limit).await?;
        let (mut delivery, mut bytes, mut last) = (Delivery::default(), 0, after);
        for (number, (position, event)) in (0..).zip(found) {
            bytes += event.len();
            if number == MAX_MESSAGES_AT_ONCE || (number > 0 && bytes > MAX_BYTES_AT_ONCE) {
                delivery.cut_at = Some(last);
                break;
            }
            last = position;
            delivery.events.push(event);
        }
        Ok(delivery)
    }

    /// The messages to a device after `after`, or the first of them, and where in the log to go on. The device does not ask for them
    /// itself, and keeps them.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn kept_messages(
        &self,
        device_sn: DeviceSn,
        after: Position,
    ) -> Result<(Delivery, Position), StorageError> {
        let end = self.database.position().await?;
        if self.database.engine() == Engine::Postgres {
            // What is in memory may be older than what another node has written.
            self.database.catch_up(end, CATCH_UP).await?;
        }
        let delivery = self.messages(device_sn, after, end).await?;
        let next = delivery.cut_at.unwrap_or(end).max(after);
        Ok((delivery, next))
    }

    async fn oldest(&self, device_sn: DeviceSn) -> Result<Option<Position>, StorageError> {
        self.oldest.get_or_load(&device_sn, self.database.oldest_to_device(device_sn)).await
    }
}

impl LogObserver<LogEntry> for ToDevice {
    fn committed(&self, entries: &[LogEntry]) {
        for entry in entries {
            if let LogEntry::Devices { devices, .. } = entry {
                for (_, device_sn) in devices.iter() {
                    self.oldest.remove(device_sn);
                }
            }
        }
    }
}
