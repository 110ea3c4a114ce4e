//! What users of this server are to rooms that the server is not in, as other servers told it.
//!
//! Such a membership stands beside all others in `memberships` and `membership_changes`, with its position in the log in place of an event;
//! what is known of the room is in a table of its own. An event of the room that changes the membership, once the server is in the room,
//! takes its place.

use std::collections::HashSet;

use bytes::Bytes;
use homeserver_core::{Position, RoomSn, UserSn};

use crate::append::rows::mark_local;
use crate::membership::{code, membership_at};
use crate::{Database, LogEntry, Membership, StorageError, Tx, params};

/// What a user is to a room that this server is not in.
#[derive(Clone, Debug)]
pub struct RemoteMembership {
    /// The room.
    pub room_sn: RoomSn,
    /// The user.
    pub user_sn: UserSn,
    /// What the user is to the room.
    pub membership: Membership,
    /// The version of the room, as the server said that told of it.
    pub room_version: Box<str>,
    /// The member event, a whole PDU; `None` if the membership ended without one.
    pub event: Option<Bytes>,
    /// A JSON list of the stripped state events that introduce the room.
    pub state: Bytes,
}

impl Database {
    /// Sets what a user is to a room, if it is `expected` now; `None` is for a user who was never anything to the room. Returns the
    /// position of the change; `None` if it is something else now.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_remote_membership(
        &self,
        new: RemoteMembership,
        expected: Option<Membership>,
    ) -> Result<Option<Position>, StorageError> {
        self.write(async move |tx| {
            // The log is locked before the membership is read.
            let position = tx.next_position().await?;
            if tx.current_membership(&new).await? != expected {
                return Ok(None);
            }
            tx.write_remote_membership(&new, position).await?;
            let RemoteMembership { room_sn, user_sn, membership, .. } = new;
            tx.publish(LogEntry::RemoteMembership { position, room_sn, user_sn, membership });
            Ok(Some(position))
        })
        .await
    }

    /// What is known of a room that a user is invited to, or knocks on, and of the user's membership; with its position. `None` unless
    /// it is still what the user is to the room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn remote_membership(
        &self,
        room_sn: RoomSn,
        user_sn: UserSn,
    ) -> Result<Option<(Position, RemoteMembership)>, StorageError> {
        let sql = "SELECT r.position, m.membership, r.room_version, r.event, r.state FROM remote_memberships r \
                   JOIN memberships m ON m.room_sn = r.room_sn AND m.user_sn = r.user_sn AND m.event_sn = r.position \
                   WHERE r.room_sn = $1 AND r.user_sn = $2";
        self.query_optional(sql, params![room_sn, user_sn], |row| {
            let (membership, room_version) = (membership_at(row, 1)?, row.get(2)?);
            let (event, state) = (row.get(3)?, row.get(4)?);
            Ok((row.get(0)?, RemoteMembership { room_sn, user_sn, membership, room_version, event, state }))
        })
        .await
    }

    /// The users whose membership of the room was told by other servers, and does not follow from its events here.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn members_told_elsewhere(&self, room_sn: RoomSn) -> Result<HashSet<UserSn>, StorageError> {
        let sql = "SELECT r.user_sn FROM remote_memberships r JOIN memberships m ON m.room_sn = r.room_sn \
                   AND m.user_sn = r.user_sn AND m.event_sn = r.position WHERE r.room_sn = $1";
        Ok(self.query(sql, params![room_sn], |row| row.get(0)).await?.into_iter().collect())
    }

    /// The IDs of the users who are joined to a room, but for one.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn joined_users_but(&self, room_sn: RoomSn, but: UserSn) -> Result<Vec<Box<str>>, StorageError> {
        let sql = "SELECT u.user_id FROM memberships m JOIN users u ON u.user_sn = m.user_sn \
                   WHERE m.room_sn = $1 AND m.membership = 1 AND m.user_sn <> $2";
        self.query(sql, params![room_sn, but], |row| row.get(0)).await
    }

    /// The IDs of some users who are joined to a room: of those who have been for the longest time.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn some_joined_users(&self, room_sn: RoomSn) -> Result<Vec<Box<str>>, StorageError> {
        let sql = "SELECT u.user_id FROM memberships m JOIN users u ON u.user_sn = m.user_sn \
                   WHERE m.room_sn = $1 AND m.membership = 1 ORDER BY m.room_sn, m.membership, m.event_sn LIMIT 100";
        self.query(sql, params![room_sn], |row| row.get(0)).await
    }

    /// Whether a user of this server is in the room, and so the server.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn is_in_room(&self, room_sn: RoomSn) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM memberships WHERE room_sn = $1 AND membership = 1 AND is_local = TRUE LIMIT 1";
        Ok(self.query_optional(sql, params![room_sn], |_| Ok(())).await?.is_some())
    }
}

impl Tx {
    async fn current_membership(&mut self, of: &RemoteMembership) -> Result<Option<Membership>, StorageError> {
        let sql = "SELECT membership FROM memberships WHERE room_sn = $1 AND user_sn = $2";
        self.query_optional(sql, params![of.room_sn, of.user_sn], |row| membership_at(row, 0)).await
    }

    async fn write_remote_membership(
        &mut self,
        new: &RemoteMembership,
        position: Position,
    ) -> Result<(), StorageError> {
        let RemoteMembership { room_sn, user_sn, membership, room_version, event, state } = new;
        let code = code(*membership);
        let sql = "INSERT INTO memberships (room_sn, user_sn, membership, event_sn, is_forgotten) \
                   VALUES ($1, $2, $3, $4, FALSE) ON CONFLICT (room_sn, user_sn) \
                   DO UPDATE SET membership = excluded.membership, event_sn = excluded.event_sn, is_forgotten = FALSE";
        self.execute(sql, params![*room_sn, *user_sn, code, position]).await?;
        let sql = "INSERT INTO membership_changes (user_sn, room_sn, position, membership) VALUES ($1, $2, $3, $4)";
        self.execute(sql, params![*user_sn, *room_sn, position, code]).await?;
        let sql = "INSERT INTO remote_memberships (room_sn, user_sn, position, room_version, event, state) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (room_sn, user_sn) \
                   DO UPDATE SET position = excluded.position, room_version = excluded.room_version, \
                   event = excluded.event, state = excluded.state";
        self.execute(sql, params![*room_sn, *user_sn, position, room_version, event.as_deref(), state]).await?;
        mark_local(self, *room_sn, &[user_sn.0]).await
    }
}
