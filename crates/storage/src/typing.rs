//! Who types in which room.

use homeserver_core::{Position, RoomSn, Timestamp, UserSn};

use crate::{Database, LogEntry, StorageError, Tx, params};

impl Database {
    /// A user types in a room until `expires_at`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn start_typing(
        &self,
        room_sn: RoomSn,
        user_sn: UserSn,
        expires_at: Timestamp,
    ) -> Result<(), StorageError> {
        self.write(async move |tx| tx.start_typing(room_sn, user_sn, expires_at).await).await
    }

    /// These users type in these rooms no longer.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn stop_typing(&self, who: Vec<(RoomSn, UserSn)>, now: Timestamp) -> Result<(), StorageError> {
        self.write(async move |tx| {
            for (room_sn, user_sn) in &who {
                tx.stop_typing(*room_sn, *user_sn, now, None).await?;
            }
            Ok(())
        })
        .await
    }

    /// Ends the typing of up to `limit` users that expires at `now` or before, or after `latest`: that was said before the clock
    /// was set back. Tells how many they are.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn end_expired_typing(
        &self,
        now: Timestamp,
        latest: Timestamp,
        limit: i64,
    ) -> Result<usize, StorageError> {
        let find = "SELECT room_sn, user_sn FROM typing \
                    WHERE has_ended = FALSE AND (expires_at <= $1 OR expires_at > $2) LIMIT $3";
        let read = |row: &crate::Row<'_>| Ok((row.get::<RoomSn>(0)?, row.get::<UserSn>(1)?));
        let expired = self.query(find, params![now, latest, limit], read).await?;
        if expired.is_empty() {
            return Ok(0);
        }
        let found = expired.len();
        self.write(async move |tx| {
            for (room_sn, user_sn) in &expired {
                // Not those who have said in the meantime that they still type.
                tx.stop_typing(*room_sn, *user_sn, now, Some(latest)).await?;
            }
            Ok(found)
        })
        .await
    }

    /// Everybody who types, and where.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn typing(&self) -> Result<Vec<(RoomSn, UserSn)>, StorageError> {
        let sql = "SELECT room_sn, user_sn FROM typing WHERE has_ended = FALSE ORDER BY room_sn, position";
        self.query(sql, &[], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// Those of these rooms in which somebody began or stopped typing after `after` and up to `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rooms_with_typing(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
    ) -> Result<Vec<RoomSn>, StorageError> {
        let sql = "SELECT DISTINCT room_sn FROM typing WHERE room_sn IN LIST($1) AND position > $2 AND position <= $3";
        self.query(sql, params![rooms, after, until], |row| row.get(0)).await
    }

    /// Removes up to `limit` rows of typing that ended before `ended_before`. Tells how many.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_ended_typing(&self, ended_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT room_sn, user_sn FROM typing WHERE has_ended = TRUE AND expires_at < $1 LIMIT $2";
        let read = |row: &crate::Row<'_>| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?));
        let found = self.query(find, params![ended_before, limit], read).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let rooms: Vec<i64> = found.iter().map(|(room_sn, _)| *room_sn).collect();
        let users: Vec<i64> = found.into_iter().map(|(_, user_sn)| user_sn).collect();
        // The lists can be paired otherwise: with rows that are just as old.
        let sql = "DELETE FROM typing WHERE room_sn IN LIST($1) AND user_sn IN LIST($2) \
                   AND has_ended = TRUE AND expires_at < $3";
        self.write(async move |tx| tx.execute(sql, params![&rooms, &users, ended_before]).await).await
    }
}

impl Tx {
    async fn start_typing(
        &mut self,
        room_sn: RoomSn,
        user_sn: UserSn,
        expires_at: Timestamp,
    ) -> Result<(), StorageError> {
        // Who types already goes on typing: that is no news.
        let sql = "UPDATE typing SET expires_at = $3 WHERE room_sn = $1 AND user_sn = $2 AND has_ended = FALSE";
        if self.execute(sql, params![room_sn, user_sn, expires_at]).await? > 0 {
            return Ok(());
        }
        let position = self.next_position().await?;
        let sql = "INSERT INTO typing (room_sn, user_sn, has_ended, expires_at, position) \
                   VALUES ($1, $2, FALSE, $3, $4) ON CONFLICT (room_sn, user_sn) \
                   DO UPDATE SET has_ended = FALSE, expires_at = excluded.expires_at, position = excluded.position";
        self.execute(sql, params![room_sn, user_sn, expires_at, position]).await?;
        self.publish(LogEntry::Typing { position, room_sn, user_sn, has_ended: false });
        Ok(())
    }

    /// Ends the typing of a user, unless it expires between `now` and `latest`, if that is given.
    async fn stop_typing(
        &mut self,
        room_sn: RoomSn,
        user_sn: UserSn,
        now: Timestamp,
        latest: Option<Timestamp>,
    ) -> Result<(), StorageError> {
        let find = "SELECT 1 FROM typing WHERE room_sn = $1 AND user_sn = $2 AND has_ended = FALSE \
                    AND (expires_at <= $3 OR expires_at > $4)";
        let types = params![room_sn, user_sn, now, latest.unwrap_or(now)];
        if self.query_optional(find, types, |_| Ok(())).await?.is_none() {
            return Ok(());
        }
        let position = self.next_position().await?;
        let sql = "UPDATE typing SET has_ended = TRUE, expires_at = $3, position = $4 \
                   WHERE room_sn = $1 AND user_sn = $2";
        self.execute(sql, params![room_sn, user_sn, now, position]).await?;
        self.publish(LogEntry::Typing { position, room_sn, user_sn, has_ended: true });
        Ok(())
    }
}
