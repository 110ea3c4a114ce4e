//! How users sort their rooms.
//!
//! Tags are the account data `m.tag` of a room, so they reach the user's other clients by `/sync` and follow a room's upgrade.

use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{RoomSn, UserSn};
use ruma::RoomId;
use serde_json::{Map, Value, json};
use storage::{Database, Interned, StorageError};

/// The type of the account data.
const TAG: &str = "m.tag";
/// The longest tag, in bytes.
const MAX_TAG_BYTES: usize = 255;
/// Most tags of a room.
const MAX_TAGS: usize = 100;
/// Most bytes of what is kept with a tag.
const MAX_PROPERTIES_BYTES: usize = 4_096;

/// Why tags cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The room is not known.
    #[error("This room is not known here")]
    NoSuchRoom,
    /// The tag is too long.
    #[error("A tag has between 1 and {MAX_TAG_BYTES} bytes")]
    InvalidTag,
    /// What is kept with the tag cannot be used.
    #[error("{0}")]
    InvalidProperties(&'static str),
    /// The room has too many tags.
    #[error("A room has at most {MAX_TAGS} tags: remove one first")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The tags that users give to rooms.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#room-tagging>
pub struct Tags {
    database: Database,
    interned: Arc<Interned>,
}

impl Tags {
    /// The tags stored in `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>) -> Self {
        Self { database, interned }
    }

    /// The tags of a room: the content of the account data.
    ///
    /// # Errors
    /// [`TagError::NoSuchRoom`].
    pub async fn of_room(&self, user_sn: UserSn, room_id: &RoomId) -> Result<Value, TagError> {
        let room_sn = self.room(room_id).await?;
        let content = self.database.account_data(user_sn, Some(room_sn), TAG).await?;
        Ok(json!({ "tags": tags(content.as_deref()) }))
    }

    /// Gives a room a tag, or changes what is kept with it.
    ///
    /// # Errors
    /// [`TagError`].
    pub async fn set(
        &self,
        user_sn: UserSn,
        room_id: &RoomId,
        tag: String,
        properties: Map<String, Value>,
    ) -> Result<(), TagError> {
        if tag.is_empty() || tag.len() > MAX_TAG_BYTES {
            return Err(TagError::InvalidTag);
        }
        if properties.get("order").is_some_and(|order| !order.is_number()) {
            return Err(TagError::InvalidProperties("order: must be a number"));
        }
        if Value::Object(properties.clone()).to_string().len() > MAX_PROPERTIES_BYTES {
            return Err(TagError::InvalidProperties("What is kept with a tag has at most 4096 bytes"));
        }
        let room_sn = self.room(room_id).await?;
        let known = tags(self.database.account_data(user_sn, Some(room_sn), TAG).await?.as_deref());
        if known.len() >= MAX_TAGS && !known.contains_key(&tag) {
            return Err(TagError::TooMany);
        }
        let change = move |content: Option<Bytes>| {
            let mut tags = tags(content.as_deref());
            tags.insert(tag.clone(), Value::Object(properties.clone()));
            Some(content_of(tags))
        };
        Ok(self.database.change_account_data(user_sn, Some(room_sn), TAG, change).await?)
    }

    /// Takes a tag from a room, if the room has it.
    ///
    /// # Errors
    /// [`TagError::NoSuchRoom`].
    pub async fn remove(&self, user_sn: UserSn, room_id: &RoomId, tag: String) -> Result<(), TagError> {
        let room_sn = self.room(room_id).await?;
        let change = move |content: Option<Bytes>| {
            let mut tags = tags(content.as_deref());
            tags.remove(&tag).map(|_| content_of(tags))
        };
        Ok(self.database.change_account_data(user_sn, Some(room_sn), TAG, change).await?)
    }

    async fn room(&self, room_id: &RoomId) -> Result<RoomSn, TagError> {
        self.interned.find_room(room_id.as_str()).await?.ok_or(TagError::NoSuchRoom)
    }
}

/// The tags in the account data, which clients may have written in any form.
fn tags(content: Option<&[u8]>) -> Map<String, Value> {
    let content = content.and_then(|content| serde_json::from_slice::<Map<String, Value>>(content).ok());
    match content.and_then(|mut content| content.remove("tags")) {
        Some(Value::Object(tags)) => tags,
        _ => Map::new(),
    }
}

fn content_of(tags: Map<String, Value>) -> Bytes {
    Bytes::from(json!({ "tags": tags }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_from_whatever_clients_wrote() {
        assert_eq!(tags(Some(br#"{"tags":{"u.x":{"order":1}},"other":1}"#)).len(), 1);
        for content in [None, Some(&b"{}"[..]), Some(b"[]"), Some(br#"{"tags":5}"#)] {
            assert!(tags(content).is_empty(), "{content:?}");
        }
    }
}
