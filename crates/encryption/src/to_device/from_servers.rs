//! Messages from devices of users of other servers.

use futures::future::try_join_all;
use replication::edus::EduReceiver;
use ruma::{OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::{NewToDeviceMessage, StorageError, ToDeviceSend, TransactionSender};

use super::sending::{Receiver, write_events};
use super::{ToDevice, ToDeviceMessages};

/// The most bytes of the ID and of the type of a message.
const MAX_NAME_BYTES: usize = 255;
/// The most devices that get messages by one transaction.
const MAX_RECEIVERS: usize = 10_000;

#[derive(Deserialize)]
struct Content {
    sender: OwnedUserId,
    #[serde(rename = "type")]
    event_type: String,
    /// What is sent again under the same ID is not shown again.
    message_id: String,
    messages: ToDeviceMessages,
}

/// What one transaction may still add.
struct Room {
    bytes: usize,
    receivers: usize,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging>
impl EduReceiver for ToDevice {
    fn edu_type(&self) -> &'static str {
        "m.direct_to_device"
    }

    async fn receive(&self, origin: &ServerName, contents: &[Box<RawValue>]) -> Result<(), StorageError> {
        let mut room = Room { bytes: self.limits.request_bytes, receivers: MAX_RECEIVERS };
        let mut sends = Vec::new();
        for content in contents {
            match serde_json::from_str::<Content>(content.get()) {
                Ok(content) if content.is_allowed(origin) => sends.extend(self.sent(content, &mut room).await?),
                Ok(content) => tracing::debug!(%origin, sender = %content.sender, "a message to devices was left out"),
                Err(error) => tracing::debug!(%origin, %error, "a message to devices cannot be read"),
            }
        }
        try_join_all(sends.into_iter().map(|send| self.database.send_to_devices(send))).await.map(drop)
    }
}

impl ToDevice {
    /// What is stored of a message; `None` if no device gets it.
    async fn sent(&self, content: Content, room: &mut Room) -> Result<Option<ToDeviceSend>, StorageError> {
        let Content { sender, event_type, message_id, messages } = content;
        let events = match write_events(&sender, &event_type, messages) {
            Ok(events) => events,
            Err(error) => {
                tracing::debug!(%sender, %error, "a message to devices was left out");
                return Ok(None);
            }
        };
        let mut messages = Vec::new();
        for Receiver { user_id, device, event } in self.receivers(events).await? {
            if self.is_full(&device, event.len()) || event.len() > room.bytes || room.receivers == 0 {
                tracing::debug!(%sender, %user_id, device_id = device.device_id, "a device got no message: there are too many");
                continue;
            }
            room.bytes -= event.len();
            room.receivers -= 1;
            let (device_sn, user_sn, device_id) = (device.device_sn, device.user_sn, device.device_id);
            messages.push(NewToDeviceMessage { device_sn, user_sn, device_id, event });
        }
        if messages.is_empty() {
            return Ok(None);
        }
        let sender = TransactionSender::User(self.interned.user(sender.as_str()).await?);
        let (event_type, transaction_id) = (event_type.into(), message_id.into());
        let (sent_at, to_servers) = (self.clock.now(), Vec::new());
        Ok(Some(ToDeviceSend { sender, event_type, transaction_id, sent_at, messages, to_servers }))
    }
}

impl Content {
    fn is_allowed(&self, origin: &ServerName) -> bool {
        let is_name = |name: &str| name.len() <= MAX_NAME_BYTES && !name.contains('\0');
        self.sender.server_name() == origin && is_name(&self.event_type) && is_name(&self.message_id)
    }
}
