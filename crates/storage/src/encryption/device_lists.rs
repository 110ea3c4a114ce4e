//! Whose devices and keys changed, and who shares rooms with whom.

use homeserver_core::{Position, RoomSn, UserSn};

use crate::log::LogEntry;
use crate::membership::membership_at;
use crate::{Database, Membership, Row, StorageError, Swept, Tx, Value, params};

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

    /// Whether a user who was not in a room before came into it at this position of the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_entered_at(
        &self,
        user_sn: UserSn,
        room_sn: RoomSn,
        position: Position,
    ) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM membership_changes \
                   WHERE user_sn = $1 AND room_sn = $2 AND position = $3 AND membership = 1";
        Ok(self.query_optional(sql, params![user_sn, room_sn, position], |_| Ok(())).await?.is_some())
    }

    /// The users of this server who came into one of `rooms` after `after` and up to `until`, and are in it.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn users_entered_since(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
    ) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT DISTINCT m.user_sn FROM memberships m JOIN membership_changes c \
                   ON c.user_sn = m.user_sn AND c.room_sn = m.room_sn WHERE m.is_local = TRUE AND m.room_sn IN LIST($1) \
                   AND m.membership = 1 AND c.membership = 1 AND c.position > $2 AND c.position <= $3";
        self.query(sql, params![rooms, after, until], |row| row.get(0)).await
    }

    /// The ID of the newest device of a user, whether it has keys or not.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn newest_device_id(&self, user_sn: UserSn) -> Result<Option<String>, StorageError> {
        let sql = "SELECT device_id FROM devices WHERE user_sn = $1 ORDER BY device_sn DESC LIMIT 1";
        self.query_optional(sql, params![user_sn], |row| row.get(0)).await
    }

    /// Removes those of the next `limit` changes behind `after` that a later one of the same user makes superfluous: a
    /// client that has not been told of them is told of the later one.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn sweep_device_list_changes(
        &self,
        after: (UserSn, Position),
        limit: i64,
    ) -> Result<Swept<(UserSn, Position)>, StorageError> {
        let sql = "SELECT c.user_sn, c.position, CASE WHEN EXISTS (SELECT 1 FROM device_list_changes n \
                   WHERE n.user_sn = c.user_sn AND n.position > c.position \
                   AND COALESCE(n.seen_by_sn, 0) = COALESCE(c.seen_by_sn, 0)) THEN TRUE ELSE FALSE END \
                   FROM device_list_changes c WHERE (c.user_sn, c.position) > ($1, $2) \
                   ORDER BY c.user_sn, c.position LIMIT $3";
        let read = |row: &Row<'_>| Ok((row.get::<UserSn>(0)?, row.get::<Position>(1)?, row.get::<bool>(2)?));
        let found = self.query(sql, params![after.0, after.1, limit], read).await?;
        let is_full = i64::try_from(found.len()).is_ok_and(|found| found >= limit);
        let next = found.last().filter(|_| is_full).map(|(user_sn, position, _)| (*user_sn, *position));
        let superfluous = found.into_iter().filter(|(.., is_superfluous)| *is_superfluous);
        let superfluous: Vec<(UserSn, Position)> =
            superfluous.map(|(user_sn, position, _)| (user_sn, position)).collect();
        let removed = superfluous.len() as u64;
        if removed > 0 {
            let sql = "DELETE FROM device_list_changes WHERE (user_sn, position) IN \
                       (SELECT r.user_sn, r.position FROM ROWS(user_sn, position) r)";
            self.write(async move |tx| {
                let rows: Vec<Vec<Value<'_>>> =
                    superfluous.iter().map(|(user_sn, position)| vec![(*user_sn).into(), (*position).into()]).collect();
                tx.execute_rows(sql, &rows).await
            })
            .await?;
        }
        Ok(Swept { next, removed })
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
