//! Sending messages to devices.

use std::collections::{BTreeMap, HashMap};

use accounts::rate_limits::{LimitExceeded, LimitedAction};
use accounts::sessions::Requester;
use bytes::Bytes;
use homeserver_core::UserSn;
use ruma::{OwnedUserId, UserId};
use serde_json::value::RawValue;
use storage::{NewToDeviceMessage, StorageError, ToDeviceDevice, ToDeviceSend, TransactionSender};

use super::ToDevice;

/// Messages by user and device. Instead of a device, `*` is all of a user's devices that have no message of their own.
pub type ToDeviceMessages = BTreeMap<OwnedUserId, BTreeMap<String, Box<RawValue>>>;

/// All devices of a user.
const ALL_DEVICES: &str = "*";
/// The most bytes of one message, as the receiving device is shown it.
pub(super) const MAX_MESSAGE_BYTES: usize = 65_536;
/// The most devices that get a message by one request.
const MAX_RECEIVERS: usize = 10_000;

/// Why messages were not sent. None of the request was. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum ToDeviceError {
    /// A content that is no object, or has a number that is out of every range.
    #[error("messages.{user_id}.{device_id}: the content of a message must be an object that can be read")]
    NotAnObject {
        /// The receiving user.
        user_id: OwnedUserId,
        /// The receiving device, as the client named it.
        device_id: String,
    },
    /// A message is too large.
    #[error("messages.{user_id}.{device_id}: a message has at most {MAX_MESSAGE_BYTES} bytes")]
    TooLarge {
        /// The receiving user.
        user_id: OwnedUserId,
        /// The receiving device, as the client named it.
        device_id: String,
    },
    /// Too many devices at once.
    #[error("A request sends messages to at most {MAX_RECEIVERS} devices")]
    TooMany,
    /// Too many bytes for all devices together.
    #[error("A request sends at most {limit} bytes to all devices together: send to fewer devices at once")]
    TooMuch {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// A device does not fetch its messages.
    #[error("Too many messages wait for device {device_id} of {user_id}, which does not fetch them")]
    QueueFull {
        /// The receiving user.
        user_id: OwnedUserId,
        /// The receiving device.
        device_id: Box<str>,
    },
    /// The sender sends too often.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A device that gets a message.
pub(super) struct Receiver {
    pub(super) user_id: OwnedUserId,
    pub(super) device: ToDeviceDevice,
    pub(super) event: Bytes,
}

impl ToDevice {
    /// Sends messages to devices, all of them or none, and only once under a transaction ID. Devices that do not exist get nothing.
    ///
    /// # Errors
    /// [`ToDeviceError`].
    pub async fn send(
        &self,
        requester: &Requester,
        event_type: &str,
        transaction_id: &str,
        messages: ToDeviceMessages,
    ) -> Result<(), ToDeviceError> {
        let sender = match requester.device_sn {
            Some(device_sn) => TransactionSender::Device(device_sn),
            None => TransactionSender::User(requester.user_sn),
        };
        let is_local = |user_id: &OwnedUserId| user_id.server_name() == requester.user_id.server_name();
        let (messages, elsewhere): (ToDeviceMessages, ToDeviceMessages) =
            messages.into_iter().partition(|(user_id, _)| is_local(user_id));
        let events = write_events(&requester.user_id, event_type, messages)?;
        if self.database.has_sent_to_devices(sender, event_type, transaction_id).await? {
            return Ok(());
        }
        self.rate_limits.spend_by_user(LimitedAction::ToDevice, requester)?.keep();
        let messages = self.addressed(events).await?;
        let to_servers = self.edus(&requester.user_id, event_type, elsewhere).await?;
        self.database
            .send_to_devices(ToDeviceSend {
                sender,
                event_type: event_type.into(),
                transaction_id: transaction_id.into(),
                sent_at: self.clock.now(),
                messages,
                to_servers,
            })
            .await?;
        Ok(())
    }

    /// One message for each device that gets one.
    async fn addressed(
        &self,
        events: BTreeMap<OwnedUserId, BTreeMap<String, Bytes>>,
    ) -> Result<Vec<NewToDeviceMessage>, ToDeviceError> {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        for Receiver { user_id, device, event } in self.receivers(events).await? {
            if messages.len() == MAX_RECEIVERS {
                return Err(ToDeviceError::TooMany);
            }
            bytes += event.len();
            if bytes > self.limits.request_bytes {
                return Err(ToDeviceError::TooMuch { limit: self.limits.request_bytes });
            }
            if self.is_full(&device, event.len()) {
                return Err(ToDeviceError::QueueFull { user_id, device_id: device.device_id });
            }
            let ToDeviceDevice { device_sn, user_sn, device_id, .. } = device;
            messages.push(NewToDeviceMessage { device_sn, user_sn, device_id, event });
        }
        Ok(messages)
    }

    /// The devices that get messages.
    pub(super) async fn receivers(
        &self,
        events: BTreeMap<OwnedUserId, BTreeMap<String, Bytes>>,
    ) -> Result<Vec<Receiver>, StorageError> {
        let mut users: HashMap<UserSn, (OwnedUserId, BTreeMap<String, Bytes>)> = HashMap::new();
        for (user_id, events) in events {
            if let Some(user_sn) = self.interned.find_user(user_id.as_str()).await? {
                users.insert(user_sn, (user_id, events));
            }
        }
        let numbers: Vec<i64> = users.keys().map(|user_sn| user_sn.0).collect();
        let devices = self.database.to_device_devices(&numbers).await?;
        let receiver = |device: ToDeviceDevice| {
            let (user_id, events) = users.get(&device.user_sn)?;
            let event = events.get(&*device.device_id).or_else(|| events.get(ALL_DEVICES))?;
            Some(Receiver { user_id: user_id.clone(), event: event.clone(), device })
        };
        Ok(devices.into_iter().filter_map(receiver).collect())
    }

    pub(super) fn is_full(&self, device: &ToDeviceDevice, further_bytes: usize) -> bool {
        let further_bytes = i64::try_from(further_bytes).unwrap_or(i64::MAX);
        device.waiting_messages >= self.limits.messages
            || device.waiting_bytes.saturating_add(further_bytes) > self.limits.bytes
    }
}

/// The messages as the receiving devices are shown them.
pub(super) fn write_events(
    sender: &UserId,
    event_type: &str,
    messages: ToDeviceMessages,
) -> Result<BTreeMap<OwnedUserId, BTreeMap<String, Bytes>>, ToDeviceError> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let start = format!("{{\"sender\":{},\"type\":{},\"content\":", quoted(sender.as_str()), quoted(event_type));
    let mut written = BTreeMap::new();
    for (user_id, contents) in messages {
        let mut events = BTreeMap::new();
        for (device_id, content) in contents {
            // What the receiver could not read, such as 1e400, would cost it the whole answer.
            if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(content.get()).is_err() {
                return Err(ToDeviceError::NotAnObject { user_id, device_id });
            }
            let event = format!("{start}{}}}", content.get());
            if event.len() > MAX_MESSAGE_BYTES {
                return Err(ToDeviceError::TooLarge { user_id, device_id });
            }
            events.insert(device_id, Bytes::from(event));
        }
        written.insert(user_id, events);
    }
    Ok(written)
}
