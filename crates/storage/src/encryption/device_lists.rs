//! Whose devices and keys changed, and who shares rooms with whom.

use homeserver_core::{Position, RoomSn, UserSn};

use crate::log::LogEntry;
use crate::membership::membership_at;
use crate::{Database, Membership, Row, StorageError, Tx, Value, params};

impl Database {
    /// The users joined to `rooms` whose device lists changed after `after` and up to `until`, as all who share rooms with them see it.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn device_list_changes_in_rooms(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
    ) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT DISTINCT m.user_sn FROM memberships m JOIN device_list_changes c ON c.user_sn = m.user_sn \
                   WHERE m.room_sn IN LIST($1) AND m.membership = 1 AND c.position > $2 AND c.position <= $3 \
                   AND c.seen_by_sn IS NULL";
        self.query(sql, params![rooms, after, until], |row| row.get(0)).await
    }

    /// The users of whose device lists a user sees changes that others do not: those whom the user has signed, and the user alone.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn device_list_changes_seen_by(
        &self,
        user_sn: UserSn,
        after: Position,
        until: Position,
    ) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT user_sn FROM device_list_changes WHERE seen_by_sn = $1 AND position > $2 AND position <= $3 \
                   UNION SELECT user_sn FROM device_list_changes WHERE user_sn = $1 AND seen_by_sn IS NULL \
                   AND position > $2 AND position <= $3";
        self.query(sql, params![user_sn, after, until], |row| row.get(0)).await
    }

    /// Where in the log the device list of a user changed last, as all who share rooms with the user see it.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn device_list_changed_at(&self, user_sn: UserSn) -> Result<Option<Position>, StorageError> {
        let sql = "SELECT position FROM device_list_changes WHERE user_sn = $1 AND seen_by_sn IS NULL \
                   ORDER BY position DESC LIMIT 1";
        self.query_optional(sql, params![user_sn], |row| row.get(0)).await
    }

    /// The keys of users of other servers have changed, as their servers say.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn note_device_list_changes(&self, users: Vec<UserSn>) -> Result<(), StorageError> {
        self.write(async move |tx| {
            tx.hold_log().await?;
            tx.reserve_positions(i64::try_from(users.len()).unwrap_or(i64::MAX)).await?;
            let mut rows: Vec<Vec<Value<'_>>> = Vec::with_capacity(users.len());
            for user_sn in users.iter().copied() {
                let position = tx.next_position().await?;
                rows.push(vec![user_sn.into(), position.into(), Value::Int(None)]);
                tx.publish(LogEntry::DeviceList { position, user_sn, seen_by: None });
            }
            tx.insert_all("device_list_changes (user_sn, position, seen_by_sn)", &rows).await
        })
        .await
    }

    /// The users whose device lists changed after `after` and up to `until`, as all who share rooms with them see it.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn device_list_changes(&self, after: Position, until: Position) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT DISTINCT user_sn FROM device_list_changes \
                   WHERE seen_by_sn IS NULL AND position > $1 AND position <= $2";
        self.query(sql, params![after, until], |row| row.get(0)).await
    }

    /// The members of a room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn joined_users(&self, room_sn: RoomSn) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT user_sn FROM memberships WHERE room_sn = $1 AND membership = 1";
        self.query(sql, params![room_sn], |row| row.get(0)).await
    }

    /// Those of `users` who are joined to one of `rooms`, and have been since `after` or before.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn joined_since(
        &self,
        rooms: &[i64],
        users: &[i64],
        after: Position,
    ) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT DISTINCT m.user_sn FROM memberships m WHERE m.room_sn IN LIST($1) AND m.user_sn IN LIST($2) \
                   AND m.membership = 1 AND NOT EXISTS (SELECT 1 FROM membership_changes c \
                   WHERE c.user_sn = m.user_sn AND c.room_sn = m.room_sn AND c.position > $3)";
        self.query(sql, params![rooms, users, after], |row| row.get(0)).await
    }

    /// Whose membership of which of `rooms` changed after `after` and up to `until`, in the order of the log, with what each is now.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn members_changed_in(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
    ) -> Result<Vec<(RoomSn, UserSn, Membership)>, StorageError> {
        let sql = "SELECT m.room_sn, m.user_sn, m.membership FROM state_changes s \
                   JOIN event_types t ON t.type_sn = s.type_sn AND t.event_type = 'm.room.member' \
                   JOIN state_keys k ON k.key_sn = s.key_sn JOIN users u ON u.user_id = k.state_key \
                   JOIN memberships m ON m.room_sn = s.room_sn AND m.user_sn = u.user_sn \
                   WHERE s.room_sn IN LIST($1) AND s.position > $2 AND s.position <= $3 ORDER BY s.position";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, membership_at(row, 2)?));
        self.query(sql, params![rooms, after, until], read).await
    }
}

impl Tx {
    /// What others use to encrypt for a user, or to verify the user, has changed.
    pub(crate) async fn note_device_list_change(&mut self, user_sn: UserSn) -> Result<(), StorageError> {
        self.add_device_list_change(user_sn, None).await
    }

    /// A user has signed the keys of another one, which only the signer sees.
    pub(crate) async fn note_signed_user(&mut self, signer_sn: UserSn, user_sn: UserSn) -> Result<(), StorageError> {
        self.add_device_list_change(user_sn, Some(signer_sn)).await
    }

    async fn add_device_list_change(&mut self, user_sn: UserSn, seen_by: Option<UserSn>) -> Result<(), StorageError> {
        let position = self.next_position().await?;
        let sql = "INSERT INTO device_list_changes (user_sn, position, seen_by_sn) VALUES ($1, $2, $3)";
        self.execute(sql, params![user_sn, position, seen_by]).await?;
        self.publish(LogEntry::DeviceList { position, user_sn, seen_by });
        Ok(())
    }
}
