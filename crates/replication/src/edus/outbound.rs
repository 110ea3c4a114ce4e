//! What other servers are sent of an entry of the log: who of this server's users types, has read, or is there.

use std::sync::Arc;

use bytes::Bytes;
use event_log::UserRoomsCache;
use homeserver_core::{Clock, Position, RoomSn, UserSn};
use ruma::OwnedServerName;
use serde_json::{Map, Value, json};
use storage::{
    Database, Interned, LogEntry, Presence, PresenceState, Receipt, ReceiptThread, ReceiptType, StorageError,
};

/// The largest integer that JSON of Matrix can have.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// An EDU for the servers of some rooms.
#[derive(Clone, Debug)]
pub struct OutboundEdu {
    /// What it is about. One that still waits is replaced by a newer one about the same.
    pub subject: EduSubject,
    /// The rooms whose servers are sent it.
    pub rooms: Vec<RoomSn>,
    /// The EDU as it is in a transaction: `edu_type` and `content`.
    pub json: Bytes,
}

impl EduSubject {
    /// Whether a server that was not reached is told of it later, from the log.
    #[must_use]
    pub const fn lasts(&self) -> bool {
        match self {
            Self::Typing(..) => false,
            Self::Receipt(..) | Self::Presence(_) | Self::DeviceList(_) => true,
        }
    }
}

/// What an EDU is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EduSubject {
    /// Whether a user types in a room.
    Typing(RoomSn, UserSn),
    /// How far a user has read a room, or a thread of it.
    Receipt(RoomSn, UserSn, ReceiptThread),
    /// Whether a user is there.
    Presence(UserSn),
    /// The keys of a user.
    DeviceList(UserSn),
}

/// Makes EDUs of entries of the log.
pub struct OutboundEdus {
    database: Database,
    interned: Arc<Interned>,
    user_rooms: Arc<UserRoomsCache>,
    clock: Arc<dyn Clock>,
    server_name: OwnedServerName,
}

impl OutboundEdus {
    /// EDUs about the users of the server of this name.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        user_rooms: Arc<UserRoomsCache>,
        clock: Arc<dyn Clock>,
        server_name: OwnedServerName,
    ) -> Self {
        Self { database, interned, user_rooms, clock, server_name }
    }

    /// What other servers are sent of `entry`, which is nothing for most entries, and for all that are about users of other servers.
    ///
    /// # Errors
    /// [`StorageError`] if the names in it, or the rooms of its user, cannot be read.
    pub async fn of(&self, entry: &LogEntry) -> Result<Option<OutboundEdu>, StorageError> {
        match entry {
            LogEntry::Typing { room_sn, user_sn, has_ended, .. } => self.typing(*room_sn, *user_sn, !has_ended).await,
            LogEntry::Receipt(receipt) if receipt.receipt_type == ReceiptType::Read => self.receipt(receipt).await,
            LogEntry::Presence(presence) => self.presence(presence).await,
            LogEntry::DeviceList { position, user_sn, seen_by: None } => self.device_list(*user_sn, *position).await,
            _ => Ok(None),
        }
    }

    /// Whether a user types in a room.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#typing-notifications>
    ///
    /// # Errors
    /// [`StorageError`] if the names cannot be read.
    pub async fn typing(
        &self,
        room_sn: RoomSn,
        user_sn: UserSn,
        types: bool,
    ) -> Result<Option<OutboundEdu>, StorageError> {
        let Some(user_id) = self.local_user(user_sn).await? else { return Ok(None) };
        let room_id = self.interned.room_id(room_sn).await?;
        let content = json!({ "room_id": &*room_id, "user_id": &*user_id, "typing": types });
        let subject = EduSubject::Typing(room_sn, user_sn);
        Ok(Some(OutboundEdu { subject, rooms: vec![room_sn], json: edu("m.typing", content) }))
    }

    /// How far a user has read.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#receipts>
    ///
    /// # Errors
    /// [`StorageError`] if the names cannot be read.
    pub async fn receipt(&self, receipt: &Receipt) -> Result<Option<OutboundEdu>, StorageError> {
        let Receipt { room_sn, user_sn, thread, event_id, received_at, .. } = receipt;
        let Some(user_id) = self.local_user(*user_sn).await? else { return Ok(None) };
        let room_id = self.interned.room_id(*room_sn).await?;
        let mut about = json!({ "ts": received_at.0 });
        if let (Some(thread_id), Some(about)) = (thread.id(), about.as_object_mut()) {
            about.insert("thread_id".to_owned(), thread_id.into());
        }
        let of_user = object(&user_id, json!({ "event_ids": [event_id], "data": about }));
        let content = object(&room_id, object(ReceiptType::Read.as_str(), of_user));
        let subject = EduSubject::Receipt(*room_sn, *user_sn, thread.clone());
        Ok(Some(OutboundEdu { subject, rooms: vec![*room_sn], json: edu("m.receipt", content) }))
    }

    /// The presence of a user, for the servers of all rooms that the user is in.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#presence>
    ///
    /// # Errors
    /// [`StorageError`] if the name or the rooms of the user cannot be read.
    pub async fn presence(&self, presence: &Presence) -> Result<Option<OutboundEdu>, StorageError> {
        let Some(user_id) = self.local_user(presence.user_sn).await? else { return Ok(None) };
        let rooms: Vec<RoomSn> = self.user_rooms.of(presence.user_sn).await?.joined().into_iter().collect();
        if rooms.is_empty() {
            return Ok(None);
        }
        let ago = self.clock.now().since(presence.last_active_at).as_millis();
        let mut update = json!({
            "user_id": &*user_id,
            "presence": presence.state.as_str(),
            "last_active_ago": u64::try_from(ago).map_or(MAX_INTEGER, |ago| ago.min(MAX_INTEGER)),
            "currently_active": presence.state == PresenceState::Online,
        });
        if let (Some(message), Some(update)) = (&presence.status_message, update.as_object_mut()) {
            update.insert("status_msg".to_owned(), message.as_ref().into());
        }
        let content = json!({ "push": [update] });
        Ok(Some(OutboundEdu {
            subject: EduSubject::Presence(presence.user_sn),
            rooms,
            json: edu("m.presence", content),
        }))
    }

    /// That the keys of a user have changed, for the servers of all rooms that the user is in. It names no change before it, so they ask for
    /// all keys again.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#device-management>
    ///
    /// # Errors
    /// [`StorageError`] if the name, the devices or the rooms of the user cannot be read.
    pub async fn device_list(
        &self,
        user_sn: UserSn,
        changed_at: Position,
    ) -> Result<Option<OutboundEdu>, StorageError> {
        let Some(user_id) = self.local_user(user_sn).await? else { return Ok(None) };
        let rooms = self.rooms_of(user_sn).await?;
        if rooms.is_empty() {
            return Ok(None);
        }
        let devices = self.database.device_keys(&[user_sn.0]).await?;
        let device_id = match devices.into_iter().next() {
            Some(device) => device.device_id.into_string(),
            None => self.database.newest_device_id(user_sn).await?.unwrap_or_default(),
        };
        let content = json!({ "user_id": &*user_id, "device_id": device_id, "stream_id": changed_at.0, "prev_id": [] });
        let json = edu("m.device_list_update", content);
        Ok(Some(OutboundEdu { subject: EduSubject::DeviceList(user_sn), rooms, json }))
    }

    /// The rooms that a user is in.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn rooms_of(&self, user_sn: UserSn) -> Result<Vec<RoomSn>, StorageError> {
        Ok(self.user_rooms.of(user_sn).await?.joined().into_iter().collect())
    }

    /// The ID of a user of this server; `None` of another one.
    async fn local_user(&self, user_sn: UserSn) -> Result<Option<Arc<str>>, StorageError> {
        let user_id = self.interned.user_id(user_sn).await?;
        let is_local = user_id.split_once(':').is_some_and(|(_, server)| server == self.server_name.as_str());
        Ok(is_local.then_some(user_id))
    }
}

fn edu(edu_type: &str, content: Value) -> Bytes {
    json!({ "edu_type": edu_type, "content": content }).to_string().into()
}

fn object(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), value)]))
}
