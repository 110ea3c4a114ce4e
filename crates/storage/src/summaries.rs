//! What summaries of rooms are made of, for many rooms at once.

use bytes::Bytes;
use homeserver_core::{RoomSn, TypeSn, UserSn};

use crate::membership::from_code;
use crate::{Database, Engine, Membership, StorageError, params};

/// A room that users of this server are in.
#[derive(Clone, Debug)]
pub struct SummarisedRoom {
    /// Its ID.
    pub room_id: Box<str>,
    /// Its number.
    pub room_sn: RoomSn,
    /// Its version.
    pub room_version: Box<str>,
    /// How many of its joined members are known here.
    pub joined_count: i64,
}

fn read_room(row: &crate::Row<'_>) -> Result<SummarisedRoom, StorageError> {
    Ok(SummarisedRoom {
        room_id: row.get(0)?,
        room_sn: row.get(1)?,
        room_version: row.get(2)?,
        joined_count: row.get(3)?,
    })
}

impl Database {
    /// Those of some rooms that users of this server are in.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn summarised_rooms(&self, room_ids: &[String]) -> Result<Vec<SummarisedRoom>, StorageError> {
        // With its limit PostgreSQL looks for a member of each room, and not for all rooms that have one.
        let sql = "SELECT r.room_id, h.room_sn, h.room_version, h.joined_count FROM rooms r \
                   JOIN room_heads h ON h.room_sn = r.room_sn WHERE r.room_id IN LIST($1) \
                   AND (SELECT m.membership FROM memberships m WHERE m.is_local = TRUE AND m.room_sn = r.room_sn \
                   AND m.membership = 1 LIMIT 1) = 1";
        self.query(sql, params![room_ids], read_room).await
    }

    /// What a user is to some rooms.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn memberships_of_rooms(
        &self,
        user_sn: UserSn,
        room_ids: &[String],
    ) -> Result<Vec<(Box<str>, Membership)>, StorageError> {
        let sql = "SELECT r.room_id, (SELECT m.membership FROM memberships m \
                   WHERE m.room_sn = r.room_sn AND m.user_sn = $2 LIMIT 1) FROM rooms r WHERE r.room_id IN LIST($1)";
        let read = |row: &crate::Row<'_>| {
            let membership: Option<i64> = row.get(1)?;
            Ok((row.get(0)?, membership.and_then(from_code)))
        };
        let found: Vec<(Box<str>, Option<Membership>)> = self.query(sql, params![room_ids, user_sn], read).await?;
        Ok(found.into_iter().filter_map(|(room_id, membership)| Some((room_id, membership?))).collect())
    }

    /// The IDs of users who are invited to a room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn invited_users(&self, room_sn: RoomSn, limit: i64) -> Result<Vec<Box<str>>, StorageError> {
        let sql = "SELECT u.user_id FROM memberships m JOIN users u ON u.user_sn = m.user_sn \
                   WHERE m.room_sn = $1 AND m.membership = 2 ORDER BY m.event_sn DESC LIMIT $2";
        self.query(sql, params![room_sn, limit], |row| row.get(0)).await
    }

    /// The client JSON of up to `limit` state events of one type in each of some rooms.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn state_json_of_type(
        &self,
        rooms: &[i64],
        type_sn: TypeSn,
        limit: i64,
    ) -> Result<Vec<(RoomSn, Bytes)>, StorageError> {
        let read = |row: &crate::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        if self.engine() == Engine::Sqlite || rooms.len() == 1 {
            let sql = "SELECT s.room_sn, e.client_json FROM current_state s JOIN events e ON e.event_sn = s.event_sn \
                       WHERE s.room_sn = $1 AND s.type_sn = $2 LIMIT $3";
            let rounds = rooms.iter().map(|room_sn| [(*room_sn).into(), type_sn.into(), limit.into()]);
            return self.query_each(sql, rounds, read).await;
        }
        let sql = "SELECT wanted.room_sn, e.client_json FROM UNNEST($1) AS wanted (room_sn), LATERAL (\
                   SELECT event_sn FROM current_state WHERE room_sn = wanted.room_sn AND type_sn = $2 LIMIT $3) found \
                   JOIN events e ON e.event_sn = found.event_sn";
        self.query(sql, params![rooms, type_sn, limit], read).await
    }
}
