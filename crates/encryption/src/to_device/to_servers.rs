//! Messages to devices of users of other servers. They wait in the database until the outbox has delivered them.

use std::collections::BTreeMap;

use bytes::Bytes;
use homeserver_core::random_string;
use ruma::{CanonicalJsonObject, OwnedServerName, UserId};
use serde::Serialize;
use storage::ToDeviceForServer;

use super::sending::MAX_MESSAGE_BYTES;
use super::{ToDevice, ToDeviceError, ToDeviceMessages};

/// The most servers of one request.
const MAX_SERVERS: usize = 1_000;
/// The length of the ID by which a server knows a message that it is sent again.
const MESSAGE_ID_LENGTH: usize = 32;

/// <https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging>
#[derive(Serialize)]
struct Edu<'a> {
    edu_type: &'static str,
    content: Content<'a>,
}

#[derive(Serialize)]
struct Content<'a> {
    sender: &'a UserId,
    #[serde(rename = "type")]
    event_type: &'a str,
    message_id: String,
    messages: &'a ToDeviceMessages,
}

impl ToDevice {
    /// One EDU for each server that the messages go to.
    ///
    /// # Errors
    /// [`ToDeviceError`].
    pub(super) async fn edus(
        &self,
        sender: &UserId,
        event_type: &str,
        messages: ToDeviceMessages,
    ) -> Result<Vec<ToDeviceForServer>, ToDeviceError> {
        let mut by_server: BTreeMap<OwnedServerName, ToDeviceMessages> = BTreeMap::new();
        for (user_id, contents) in messages {
            for (device_id, content) in &contents {
                // It is signed with everything else that the server is sent.
                if serde_json::from_str::<CanonicalJsonObject>(content.get()).is_err() {
                    return Err(ToDeviceError::NotAnObject { user_id, device_id: device_id.clone() });
                }
                if content.get().len() > MAX_MESSAGE_BYTES {
                    return Err(ToDeviceError::TooLarge { user_id, device_id: device_id.clone() });
                }
            }
            by_server.entry(user_id.server_name().to_owned()).or_default().insert(user_id, contents);
        }
        if by_server.len() > MAX_SERVERS {
            return Err(ToDeviceError::TooMany);
        }
        let names = by_server.keys().map(|server| server.as_str()).collect();
        let numbers = self.interned.intern_servers(names).await?;
        let queued: Vec<i64> = numbers.values().map(|server_sn| server_sn.0).collect();
        let queues = self.database.to_device_server_queues(&queued).await?;
        let mut edus = Vec::with_capacity(by_server.len());
        for (server, messages) in by_server {
            let Some(server_sn) = numbers.get(server.as_str()).copied() else { continue };
            let message_id = random_string(MESSAGE_ID_LENGTH);
            let content = Content { sender, event_type, message_id, messages: &messages };
            let edu = serde_json::to_vec(&Edu { edu_type: "m.direct_to_device", content });
            let edu = Bytes::from(edu.map_err(|error| storage::StorageError::Corrupt(error.to_string()))?);
            let queue = queues.get(&server_sn).copied().unwrap_or_default();
            let further_bytes = i64::try_from(edu.len()).unwrap_or(i64::MAX);
            if queue.messages >= self.limits.messages || queue.bytes.saturating_add(further_bytes) > self.limits.bytes {
                // It has not been reached for long. Everybody else gets their messages.
                tracing::debug!(%server, "a server got no messages to devices: too many wait for it");
                continue;
            }
            edus.push(ToDeviceForServer { server_sn, edu });
        }
        Ok(edus)
    }
}
