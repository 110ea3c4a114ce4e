//! The rooms that two users are in.

use homeserver_core::{RoomSn, UserSn};

use crate::{Database, StorageError, params};

impl Database {
    /// Up to `limit` rooms after `after` that two users are joined to, in the order of their numbers: each with its ID.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn mutual_rooms(
        &self,
        (first, second): (UserSn, UserSn),
        after: RoomSn,
        limit: i64,
    ) -> Result<Vec<(RoomSn, Box<str>)>, StorageError> {
        let sql = "SELECT a.room_sn, r.room_id FROM memberships a \
                   JOIN memberships b ON b.room_sn = a.room_sn AND b.user_sn = $2 AND b.membership = 1 \
                   JOIN rooms r ON r.room_sn = a.room_sn \
                   WHERE a.user_sn = $1 AND a.membership = 1 AND a.room_sn > $3 ORDER BY a.room_sn LIMIT $4";
        self.query(sql, params![first, second, after, limit], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// How many rooms two users are joined to.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn mutual_room_count(&self, (first, second): (UserSn, UserSn)) -> Result<i64, StorageError> {
        let sql = "SELECT COUNT(*) FROM memberships a \
                   JOIN memberships b ON b.room_sn = a.room_sn AND b.user_sn = $2 AND b.membership = 1 \
                   WHERE a.user_sn = $1 AND a.membership = 1";
        Ok(self.query_optional(sql, params![first, second], |row| row.get(0)).await?.unwrap_or(0))
    }
}
