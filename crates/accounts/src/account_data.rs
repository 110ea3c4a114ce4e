//! What clients keep on the server for their user, globally and for rooms.

use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{Position, RoomSn, UserSn};
use ruma::{RoomId, UserId};
use storage::{Database, Interned, StorageError};

use crate::push_rules::{PUSH_RULES, account_data_content};

/// The longest type, in bytes.
const MAX_TYPE_BYTES: usize = 255;

/// Why account data cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AccountDataError {
    /// The server itself writes this type.
    #[error("{0} cannot be set through this endpoint")]
    ServerControlled(String),
    /// The type is too long.
    #[error("The type of account data has between 1 and {MAX_TYPE_BYTES} bytes")]
    InvalidType,
    /// Nothing was written under this type, or the room is not known.
    #[error("There is no account data of this type")]
    NotFound,
    /// The room is not known.
    #[error("This room is not known here")]
    NoSuchRoom,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The account data of this server's users.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#client-config>
pub struct AccountData {
    database: Database,
    interned: Arc<Interned>,
}

impl AccountData {
    /// The account data stored in `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>) -> Self {
        Self { database, interned }
    }

    /// The content that was last written under a type, for a room or (`None`) globally.
    ///
    /// # Errors
    /// [`AccountDataError::NotFound`].
    pub async fn content(
        &self,
        user_sn: UserSn,
        room_id: Option<&RoomId>,
        data_type: &str,
    ) -> Result<Bytes, AccountDataError> {
        if room_id.is_none() && data_type == PUSH_RULES {
            let user_id = self.interned.user_id(user_sn).await?;
            let user_id = UserId::parse(&*user_id).map_err(|_| AccountDataError::NotFound)?;
            return Ok(account_data_content(self.database.push_rules(user_sn).await?.as_ref(), &user_id));
        }
        let room_sn = self.room(room_id).await.map_err(|error| match error {
            AccountDataError::NoSuchRoom => AccountDataError::NotFound,
            other => other,
        })?;
        self.database.account_data(user_sn, room_sn, data_type).await?.ok_or(AccountDataError::NotFound)
    }

    /// Writes content, a JSON object, under a type, for a room or (`None`) globally. It reaches the user's other clients by `/sync`.
    ///
    /// # Errors
    /// [`AccountDataError`].
    pub async fn set(
        &self,
        user_sn: UserSn,
        room_id: Option<&RoomId>,
        data_type: String,
        content: Bytes,
    ) -> Result<Position, AccountDataError> {
        if matches!(data_type.as_str(), "m.fully_read" | PUSH_RULES) {
            return Err(AccountDataError::ServerControlled(data_type));
        }
        if data_type.is_empty() || data_type.len() > MAX_TYPE_BYTES {
            return Err(AccountDataError::InvalidType);
        }
        let room_sn = self.room(room_id).await?;
        Ok(self.database.set_account_data(user_sn, room_sn, data_type, content).await?)
    }

    async fn room(&self, room_id: Option<&RoomId>) -> Result<Option<RoomSn>, AccountDataError> {
        let Some(room_id) = room_id else { return Ok(None) };
        let room_sn = self.interned.find_room(room_id.as_str()).await?;
        room_sn.map(Some).ok_or(AccountDataError::NoSuchRoom)
    }
}
