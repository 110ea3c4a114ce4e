//! Account data of this server's users, global and for rooms.

use bytes::Bytes;
use homeserver_core::{Position, RoomSn, UserSn};

use crate::{Database, LogEntry, Row, StorageError, Tx, params};

/// One piece of account data.
#[derive(Clone, Debug)]
pub struct AccountDataEntry {
    /// For which room; `None` if it is global.
    pub room_sn: Option<RoomSn>,
    /// Its type.
    pub data_type: String,
    /// Its content, a JSON object as the client wrote it.
    pub content: Bytes,
    /// Where in the log it was last written.
    pub position: Position,
}

/// The account data that says whom a user ignores.
pub(crate) const IGNORED_USERS: &str = "m.ignored_user_list";

/// Global account data is stored under this room number, which no room has.
const NO_ROOM: i64 = 0;

const READ: &str = "SELECT content FROM account_data WHERE user_sn = $1 AND room_sn = $2 AND data_type = $3";

fn read_entry(row: &Row<'_>) -> Result<AccountDataEntry, StorageError> {
    let room_sn: i64 = row.get(0)?;
    Ok(AccountDataEntry {
        room_sn: (room_sn != NO_ROOM).then_some(RoomSn(room_sn)),
        data_type: row.get(1)?,
        content: row.get(2)?,
        position: row.get(3)?,
    })
}

fn room_number(room_sn: Option<RoomSn>) -> i64 {
    room_sn.map_or(NO_ROOM, |room| room.0)
}

impl Database {
    /// The content of one piece of account data.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account_data(
        &self,
        user_sn: UserSn,
        room_sn: Option<RoomSn>,
        data_type: &str,
    ) -> Result<Option<Bytes>, StorageError> {
        self.query_optional(READ, params![user_sn, room_number(room_sn), data_type], |row| row.get(0)).await
    }

    /// What was written after `after` and up to `until`, of all rooms and global, in the order of the log. What was written
    /// again after `until` is not among it.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account_data_changes(
        &self,
        user_sn: UserSn,
        after: Position,
        until: Position,
    ) -> Result<Vec<AccountDataEntry>, StorageError> {
        let sql = "SELECT room_sn, data_type, content, position FROM account_data \
                   WHERE user_sn = $1 AND position > $2 AND position <= $3 ORDER BY position";
        self.query(sql, params![user_sn, after, until], read_entry).await
    }

    /// All account data of one room, or all that is global.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account_data_of_room(
        &self,
        user_sn: UserSn,
        room_sn: Option<RoomSn>,
    ) -> Result<Vec<AccountDataEntry>, StorageError> {
        let sql = "SELECT room_sn, data_type, content, position FROM account_data \
                   WHERE user_sn = $1 AND room_sn = $2 ORDER BY data_type";
        self.query(sql, params![user_sn, room_number(room_sn)], read_entry).await
    }

    /// Writes one piece of account data, and publishes that in the log.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_account_data(
        &self,
        user_sn: UserSn,
        room_sn: Option<RoomSn>,
        data_type: String,
        content: Bytes,
    ) -> Result<Position, StorageError> {
        self.write(async move |tx| tx.set_account_data(user_sn, room_sn, &data_type, &content).await).await
    }
}

impl Tx {
    /// As [`Database::account_data`].
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn account_data(
        &mut self,
        user_sn: UserSn,
        room_sn: Option<RoomSn>,
        data_type: &str,
    ) -> Result<Option<Bytes>, StorageError> {
        self.query_optional(READ, params![user_sn, room_number(room_sn), data_type], |row| row.get(0)).await
    }

    /// As [`Database::set_account_data`].
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn set_account_data(
        &mut self,
        user_sn: UserSn,
        room_sn: Option<RoomSn>,
        data_type: &str,
        content: &Bytes,
    ) -> Result<Position, StorageError> {
        let sql = "INSERT INTO account_data (user_sn, room_sn, data_type, content, position) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (user_sn, room_sn, data_type) DO UPDATE SET content = excluded.content, position = excluded.position";
        let position = self.next_position().await?;
        self.execute(sql, params![user_sn, room_number(room_sn), data_type, content, position]).await?;
        self.publish(LogEntry::AccountData { position, user_sn, room_sn });
        if room_sn.is_none() && data_type == IGNORED_USERS {
            self.publish(LogEntry::NotificationRules { position, user_sn });
        }
        Ok(position)
    }
}
