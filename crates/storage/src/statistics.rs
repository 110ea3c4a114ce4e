//! Counting what there is on the server.

use homeserver_core::{Position, Timestamp};

use crate::{Database, Row, StorageError, params};

/// How much there is on the server, at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerStatistics {
    /// When it was counted.
    pub counted_at: Timestamp,
    /// Accounts that are neither closed nor guests'.
    pub local_users: i64,
    /// How many of them were seen in the day before.
    pub daily_active_users: i64,
    /// How many of them were seen in the thirty days before.
    pub monthly_active_users: i64,
    /// Rooms that are known here.
    pub rooms: i64,
    /// Messages in those rooms in the day before.
    pub daily_messages: i64,
    /// How many of those were sent by users of this server.
    pub daily_sent_messages: i64,
}

fn read_statistics(row: &Row<'_>) -> Result<ServerStatistics, StorageError> {
    Ok(ServerStatistics {
        counted_at: row.get(0)?,
        local_users: row.get(1)?,
        daily_active_users: row.get(2)?,
        monthly_active_users: row.get(3)?,
        rooms: row.get(4)?,
        daily_messages: row.get(5)?,
        daily_sent_messages: row.get(6)?,
    })
}

impl Database {
    /// Accounts that are neither closed nor guests'.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn count_users(&self) -> Result<i64, StorageError> {
        let sql = "SELECT COUNT(*) FROM accounts WHERE deactivated_at IS NULL AND NOT is_guest";
        Ok(self.query_optional(sql, &[], |row| row.get(0)).await?.unwrap_or(0))
    }

    /// How many of them have used a device since.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn count_active_users(&self, since: Timestamp) -> Result<i64, StorageError> {
        let sql = "SELECT COUNT(DISTINCT d.user_sn) FROM devices d JOIN accounts a ON a.user_sn = d.user_sn \
                   WHERE d.last_seen_at >= $1 AND a.deactivated_at IS NULL AND NOT a.is_guest";
        Ok(self.query_optional(sql, params![since], |row| row.get(0)).await?.unwrap_or(0))
    }

    /// Rooms that are known here.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn count_rooms(&self) -> Result<i64, StorageError> {
        Ok(self.query_optional("SELECT COUNT(*) FROM room_heads", &[], |row| row.get(0)).await?.unwrap_or(0))
    }

    /// The position of the log behind which the events are no older than `since`, as far as servers tell the truth about when
    /// they sent them.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn position_at(&self, since: Timestamp) -> Result<Position, StorageError> {
        let sql = "SELECT event_sn, origin_server_ts FROM events WHERE event_sn >= $1 ORDER BY event_sn LIMIT 1";
        let (mut low, mut high) = (0, self.position().await?.0 + 1);
        // All events before `low` are older, and none from `high` on is.
        while low < high {
            let middle = low + (high - low) / 2;
            let read = |row: &Row<'_>| Ok((row.get::<i64>(0)?, row.get::<Timestamp>(1)?));
            match self.query_optional(sql, params![middle], read).await? {
                Some((event_sn, sent_at)) if sent_at < since => low = event_sn + 1,
                _ => high = middle,
            }
        }
        Ok(Position(low - 1))
    }

    /// How many messages came after `after` and up to `until`, and how many of them were sent from here.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn count_messages(&self, after: Position, until: Position) -> Result<(i64, i64), StorageError> {
        let sql = "SELECT COUNT(*), COUNT(a.user_sn) FROM events e LEFT JOIN accounts a ON a.user_sn = e.sender_sn \
                   WHERE e.event_sn > $1 AND e.event_sn <= $2 AND e.standing = 0 AND e.state_key_sn IS NULL \
                   AND e.type_sn IN (SELECT type_sn FROM event_types WHERE event_type IN ('m.room.message', 'm.room.encrypted'))";
        let counts = self.query_optional(sql, params![after, until], |row| Ok((row.get(0)?, row.get(1)?))).await?;
        Ok(counts.unwrap_or_default())
    }

    /// Keeps what was counted, and removes what was counted before `oldest`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn store_statistics(&self, counted: ServerStatistics, oldest: Timestamp) -> Result<(), StorageError> {
        let sql = "INSERT INTO server_statistics (counted_at, local_users, daily_active_users, monthly_active_users, rooms, \
                   daily_messages, daily_sent_messages) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                   ON CONFLICT (counted_at) DO NOTHING";
        self.write(async move |tx| {
            let ServerStatistics { counted_at, local_users, rooms, .. } = counted;
            let (daily, monthly) = (counted.daily_active_users, counted.monthly_active_users);
            let (messages, sent) = (counted.daily_messages, counted.daily_sent_messages);
            tx.execute(sql, params![counted_at, local_users, daily, monthly, rooms, messages, sent]).await?;
            tx.execute("DELETE FROM server_statistics WHERE counted_at < $1", params![oldest]).await.map(drop)
        })
        .await
    }

    /// The last `limit` times that was counted, newest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn statistics(&self, limit: i64) -> Result<Vec<ServerStatistics>, StorageError> {
        let sql = "SELECT counted_at, local_users, daily_active_users, monthly_active_users, rooms, daily_messages, \
                   daily_sent_messages FROM server_statistics ORDER BY counted_at DESC LIMIT $1";
        self.query(sql, params![limit], read_statistics).await
    }
}
