//! Account data of this server's users, global and for rooms.

use bytes::Bytes;
use homeserver_core::{Position, RoomSn, UserSn};

use crate::{Database, LogEntry, Row, StorageError, Tx, Value, params};

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
/// The account data of a room that says up to where a user has read it.
const FULLY_READ: &str = "m.fully_read";

/// Global account data is stored under this room number, which no room has.
const NO_ROOM: i64 = 0;

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

    /// Replaces one piece of account data by what `change` makes of it, unless that is nothing. No other write comes in between.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn change_account_data(
        &self,
        user_sn: UserSn,
        room_sn: Option<RoomSn>,
        data_type: &'static str,
        change: impl Fn(Option<Bytes>) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Result<(), StorageError> {
        self.write(async move |tx| {
            tx.hold_log().await?;
            let key = params![user_sn, room_number(room_sn), data_type];
            let before = tx.query_optional(READ, key, |row| row.get(0)).await?;
            if let Some(after) = change(before) {
                tx.set_account_data(user_sn, room_sn, data_type, &after).await?;
            }
            Ok(())
        })
        .await
    }
}

const READ: &str = "SELECT content FROM account_data WHERE user_sn = $1 AND room_sn = $2 AND data_type = $3";
const SET: &str = "account_data (user_sn, room_sn, data_type, content, position) ON CONFLICT (user_sn, room_sn, data_type) \
                   DO UPDATE SET content = excluded.content, position = excluded.position";

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

    /// Writes up to where users have read rooms, as the account data of the rooms has it.
    pub(crate) async fn set_fully_read_contents(
        &mut self,
        contents: &[((UserSn, RoomSn), &Bytes)],
    ) -> Result<(), StorageError> {
        let mut rows: Vec<Vec<Value<'_>>> = Vec::with_capacity(contents.len());
        for ((user_sn, room_sn), content) in contents {
            let (position, user_sn, room_sn) = (self.next_position().await?, *user_sn, *room_sn);
            rows.push(vec![user_sn.into(), room_sn.into(), FULLY_READ.into(), (*content).into(), position.into()]);
            self.publish(LogEntry::AccountData { position, user_sn, room_sn: Some(room_sn) });
        }
        self.insert_all(SET, &rows).await
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
        let position = self.next_position().await?;
        let row = [user_sn.into(), room_number(room_sn).into(), data_type.into(), content.into(), position.into()];
        self.insert_all(SET, &[row.to_vec()]).await?;
        self.publish(LogEntry::AccountData { position, user_sn, room_sn });
        if room_sn.is_none() && data_type == IGNORED_USERS {
            self.publish(LogEntry::NotificationRules { position, user_sn });
        }
        Ok(position)
    }
}
