//! The directory of public rooms.

use bytes::Bytes;
use homeserver_core::{KeySn, RoomSn, TypeSn, UserSn};

use crate::{Database, StorageError, Tx, params};

/// A place in the directory, which lists the largest rooms first, and those of the same size by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryEntry {
    /// Joined members that are known here.
    pub joined_count: i64,
    /// The room.
    pub room_sn: RoomSn,
}

fn read_entry(row: &crate::Row<'_>) -> Result<DirectoryEntry, StorageError> {
    Ok(DirectoryEntry { room_sn: row.get(0)?, joined_count: row.get(1)? })
}

impl Database {
    /// Whether a room is in the directory.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn is_room_published(&self, room_sn: RoomSn) -> Result<bool, StorageError> {
        let sql = "SELECT room_sn FROM room_heads WHERE room_sn = $1 AND is_published";
        Ok(self.query_optional(sql, params![room_sn], |row| row.get::<RoomSn>(0)).await?.is_some())
    }

    /// Puts a room into the directory, or takes it out.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_room_published(&self, room_sn: RoomSn, is_published: bool) -> Result<(), StorageError> {
        self.write(async move |tx| {
            if is_published {
                return tx.publish_room(room_sn).await;
            }
            tx.execute("UPDATE room_heads SET is_published = FALSE WHERE room_sn = $1", params![room_sn])
                .await
                .map(drop)
        })
        .await
    }

    /// How many rooms the directory lists; of more than `limit`, this is what it says.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn count_published_rooms(&self, limit: i64) -> Result<i64, StorageError> {
        let sql = "SELECT COUNT(*) FROM (SELECT room_sn FROM room_heads WHERE is_published LIMIT $1) AS counted";
        Ok(self.query_optional(sql, params![limit], |row| row.get(0)).await?.unwrap_or(0))
    }

    /// Up to `limit` rooms of the directory behind `after`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn directory_after(
        &self,
        after: DirectoryEntry,
        limit: i64,
    ) -> Result<Vec<DirectoryEntry>, StorageError> {
        // Two ranges of one index: a condition with OR would read the directory from its beginning.
        let sql = "SELECT room_sn, joined_count FROM (\
                   SELECT * FROM (SELECT room_sn, joined_count FROM room_heads WHERE is_published \
                   AND joined_count = $1 AND room_sn > $2 ORDER BY room_sn LIMIT $3) AS as_large \
                   UNION ALL SELECT * FROM (SELECT room_sn, joined_count FROM room_heads WHERE is_published \
                   AND joined_count < $1 ORDER BY joined_count DESC, room_sn LIMIT $3) AS smaller\
                   ) AS page ORDER BY joined_count DESC, room_sn LIMIT $3";
        self.query(sql, params![after.joined_count, after.room_sn, limit], read_entry).await
    }

    /// Up to `limit` rooms of the directory in front of `before`, those nearest to it first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn directory_before(
        &self,
        before: DirectoryEntry,
        limit: i64,
    ) -> Result<Vec<DirectoryEntry>, StorageError> {
        let sql = "SELECT room_sn, joined_count FROM (\
                   SELECT * FROM (SELECT room_sn, joined_count FROM room_heads WHERE is_published \
                   AND joined_count = $1 AND room_sn < $2 ORDER BY room_sn DESC LIMIT $3) AS as_large \
                   UNION ALL SELECT * FROM (SELECT room_sn, joined_count FROM room_heads WHERE is_published \
                   AND joined_count > $1 ORDER BY joined_count, room_sn DESC LIMIT $3) AS larger\
                   ) AS page ORDER BY joined_count, room_sn DESC LIMIT $3";
        self.query(sql, params![before.joined_count, before.room_sn, limit], read_entry).await
    }

    /// The client JSON of the state events of some types under one state key, in many rooms at once.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn state_json_of_rooms(
        &self,
        rooms: &[i64],
        types: &[i64],
        key_sn: KeySn,
    ) -> Result<Vec<(RoomSn, TypeSn, Bytes)>, StorageError> {
        let sql = "SELECT s.room_sn, s.type_sn, e.client_json FROM current_state s JOIN events e ON e.event_sn = s.event_sn \
                   WHERE s.room_sn IN LIST($1) AND s.type_sn IN LIST($2) AND s.key_sn = $3";
        self.query(sql, params![rooms, types, key_sn], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).await
    }

    /// Up to `limit` users who have an account here and are joined to the room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn some_local_members(&self, room_sn: RoomSn, limit: i64) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT user_sn FROM memberships WHERE room_sn = $1 AND membership = 1 AND is_local = TRUE LIMIT $2";
        self.query(sql, params![room_sn, limit], |row| row.get(0)).await
    }
}

impl Tx {
    /// Puts a room that has events into the directory.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn publish_room(&mut self, room_sn: RoomSn) -> Result<(), StorageError> {
        let sql = "UPDATE room_heads SET is_published = TRUE WHERE room_sn = $1";
        self.execute(sql, params![room_sn]).await.map(drop)
    }
}
