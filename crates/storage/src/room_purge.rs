//! Removing rooms that no user of this server wants to know of any more.
//!
//! First the room's head goes, in one transaction: from then on the room is not known here. Everything else follows in steps, and
//! as long as it has not gone, nothing is appended to a room of this number; `room_purges` remembers it, so that a purge that
//! was interrupted goes on.

use homeserver_core::RoomSn;

use crate::{Database, StorageError, Tx, params};

/// Some user of this server was in the room, and none is in it, could be, or remembers it. A user whose account is closed remembers
/// nothing.
const IS_FORGOTTEN: &str = "SELECT h.room_sn FROM room_heads h WHERE h.room_sn = $1 AND EXISTS \
                            (SELECT 1 FROM memberships m WHERE m.room_sn = h.room_sn AND m.is_local = TRUE) \
                            AND NOT EXISTS (SELECT 1 FROM memberships m JOIN accounts a ON a.user_sn = m.user_sn \
                            WHERE m.room_sn = h.room_sn AND m.is_local = TRUE AND (m.membership IN (1, 2, 3) \
                            OR (NOT m.is_forgotten AND a.deactivated_at IS NULL)))";

/// What a room has a few rows of at most.
const SMALL: [&str; 7] = [
    "DELETE FROM room_aliases WHERE room_sn = $1",
    "DELETE FROM room_servers WHERE room_sn = $1",
    "DELETE FROM told_room_servers WHERE room_sn = $1",
    "DELETE FROM partial_entries WHERE room_sn = $1",
    "DELETE FROM room_entries WHERE room_sn = $1",
    "DELETE FROM forwarded_events WHERE room_sn = $1",
    "DELETE FROM room_heads WHERE room_sn = $1",
];

/// What is removed a few rows at a time.
const LARGE: [&str; 7] = [
    "DELETE FROM current_state WHERE room_sn = $1 AND (type_sn, key_sn) IN \
     (SELECT type_sn, key_sn FROM current_state WHERE room_sn = $1 LIMIT $2)",
    "DELETE FROM state_changes WHERE room_sn = $1 AND position IN \
     (SELECT position FROM state_changes WHERE room_sn = $1 ORDER BY position LIMIT $2)",
    "DELETE FROM unread_totals WHERE room_sn = $1 AND (thread_sn, event_sn) IN \
     (SELECT thread_sn, event_sn FROM unread_totals WHERE room_sn = $1 LIMIT $2)",
    "DELETE FROM room_threads WHERE room_sn = $1 AND thread_sn IN \
     (SELECT thread_sn FROM room_threads WHERE room_sn = $1 LIMIT $2)",
    "DELETE FROM room_gaps WHERE room_sn = $1 AND timeline_order IN \
     (SELECT timeline_order FROM room_gaps WHERE room_sn = $1 ORDER BY timeline_order LIMIT $2)",
    "DELETE FROM awaited_redactions WHERE room_sn = $1 AND (target_id, redaction_sn) IN \
     (SELECT target_id, redaction_sn FROM awaited_redactions WHERE room_sn = $1 LIMIT $2)",
    "DELETE FROM thread_roots WHERE room_sn = $1 AND root_id IN \
     (SELECT root_id FROM thread_roots WHERE room_sn = $1 LIMIT $2)",
];

/// What belongs to users, by whose numbers it is found.
const OF_USERS: [&str; 10] = [
    "DELETE FROM membership_changes WHERE user_sn IN LIST($1) AND room_sn = $2",
    "DELETE FROM receipts WHERE user_sn IN LIST($1) AND room_sn = $2",
    "DELETE FROM typing WHERE user_sn IN LIST($1) AND room_sn = $2",
    "DELETE FROM fully_read WHERE user_sn IN LIST($1) AND room_sn = $2",
    "DELETE FROM unread_floors WHERE user_sn IN LIST($1) AND room_sn = $2",
    "DELETE FROM unread_differences WHERE user_sn IN LIST($1) AND room_sn = $2",
    "DELETE FROM unread_silences WHERE user_sn IN LIST($1) AND room_sn = $2",
    "DELETE FROM account_data WHERE user_sn IN LIST($1) AND room_sn = $2",
    "DELETE FROM remote_memberships WHERE user_sn IN LIST($1) AND room_sn = $2",
    "DELETE FROM memberships WHERE user_sn IN LIST($1) AND room_sn = $2",
];

/// What belongs to events.
const OF_EVENTS: [&str; 5] = [
    "DELETE FROM client_transactions WHERE event_sn IN LIST($1)",
    "DELETE FROM auth_chain_events WHERE event_sn IN LIST($1)",
    "DELETE FROM auth_chain_starts WHERE chain IN LIST($1)",
    "DELETE FROM auth_chain_links WHERE from_chain IN LIST($1)",
    "DELETE FROM events WHERE event_sn IN LIST($1)",
];

impl Database {
    /// The first of the next `limit` rooms after `after` that is not wanted any more, and where to go on; `None` at the end.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn forgotten_rooms(
        &self,
        after: RoomSn,
        limit: i64,
    ) -> Result<(Vec<RoomSn>, Option<RoomSn>), StorageError> {
        let rooms = "SELECT room_sn FROM room_heads WHERE room_sn > $1 ORDER BY room_sn LIMIT $2";
        let rooms: Vec<RoomSn> = self.query(rooms, params![after, limit], |row| row.get(0)).await?;
        let next = rooms.last().copied().filter(|_| i64::try_from(rooms.len()).is_ok_and(|found| found >= limit));
        let mut forgotten = Vec::new();
        for room_sn in rooms {
            forgotten.extend(self.query_optional(IS_FORGOTTEN, params![room_sn], |row| row.get::<RoomSn>(0)).await?);
        }
        Ok((forgotten, next))
    }

    /// Begins to remove a room, if it is still not wanted by anybody.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn begin_room_purge(&self, room_sn: RoomSn) -> Result<bool, StorageError> {
        self.write(async move |tx| {
            // Appends that are being built on the room are refused, and no user joins before the commit.
            tx.renew_head(room_sn).await?;
            if tx.query_optional(IS_FORGOTTEN, params![room_sn], |_| Ok(())).await?.is_none() {
                return Ok(false);
            }
            let sql = "INSERT INTO room_purges (room_sn) VALUES ($1) ON CONFLICT DO NOTHING";
            tx.execute(sql, params![room_sn]).await?;
            for sql in SMALL {
                tx.execute(sql, params![room_sn]).await?;
            }
            tx.forget_rooms();
            Ok(true)
        })
        .await
    }

    /// The rooms that are being removed.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn room_purges(&self) -> Result<Vec<RoomSn>, StorageError> {
        self.query("SELECT room_sn FROM room_purges ORDER BY room_sn", &[], |row| row.get(0)).await
    }

    /// Removes up to `limit` rows of a room from each table. Returns how many; 0 when the room is gone.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn continue_room_purge(&self, room_sn: RoomSn, limit: i64) -> Result<u64, StorageError> {
        self.write(async move |tx| {
            // As an append does: in the order of the locks, and so that the writers of other nodes notice.
            tx.next_position().await?;
            tx.forget_rooms();
            let mut removed = 0;
            for sql in LARGE {
                removed += tx.execute(sql, params![room_sn, limit]).await?;
            }
            removed += tx.purge_memberships(room_sn, limit).await?;
            removed += tx.purge_events(room_sn, limit).await?;
            if removed == 0 {
                tx.execute("DELETE FROM room_purges WHERE room_sn = $1", params![room_sn]).await?;
            }
            Ok(removed)
        })
        .await
    }
}

impl Tx {
    async fn purge_memberships(&mut self, room_sn: RoomSn, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT user_sn FROM memberships WHERE room_sn = $1 LIMIT $2";
        let users: Vec<i64> = self.query(find, params![room_sn, limit], |row| row.get(0)).await?;
        if users.is_empty() {
            return Ok(0);
        }
        let mut removed = 0;
        for sql in OF_USERS {
            removed += self.execute(sql, params![&users, room_sn]).await?;
        }
        Ok(removed)
    }

    async fn purge_events(&mut self, room_sn: RoomSn, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT event_sn FROM events WHERE room_sn = $1 LIMIT $2";
        let events: Vec<i64> = self.query(find, params![room_sn, limit], |row| row.get(0)).await?;
        if events.is_empty() {
            return Ok(0);
        }
        let mut removed = self.purge_relations(room_sn, &events).await?;
        for sql in OF_EVENTS {
            removed += self.execute(sql, params![&events]).await?;
        }
        Ok(removed)
    }

    /// Which of these rooms are being removed.
    pub(crate) async fn rooms_being_purged(&mut self, rooms: &[i64]) -> Result<Vec<RoomSn>, StorageError> {
        let sql = "SELECT room_sn FROM room_purges WHERE room_sn IN LIST($1)";
        self.query(sql, params![rooms], |row| row.get(0)).await
    }
}
