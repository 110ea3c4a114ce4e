//! Keeping others from what a transaction reads until it has ended.

use homeserver_core::{Position, RoomSn, UserSn};

use super::Tx;
use crate::append::later_version;
use crate::dialect::Engine;
use crate::{StorageError, params};

impl Tx {
    /// Waits until no other transaction holds positions of the log, and keeps others from taking some until the commit. Returns
    /// the last position.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub(crate) async fn lock_log(&mut self) -> Result<Position, StorageError> {
        let sql = "UPDATE log_head SET position = position RETURNING position";
        let position = self.query_optional(sql, &[], |row| row.get(0)).await?;
        Ok(position.unwrap_or(Position::START))
    }

    /// Keeps other processes from taking positions of the log until the commit. What reads something that is only changed
    /// together with a position of the log, in order to change it, calls this before it reads. On SQLite there is one writer.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub(crate) async fn hold_log(&mut self) -> Result<(), StorageError> {
        if self.holds_log || self.engine() == Engine::Sqlite {
            return Ok(());
        }
        self.query_optional("SELECT position FROM log_head FOR_UPDATE", &[], |row| row.get::<i64>(0)).await?;
        self.holds_log = true;
        Ok(())
    }

    /// Keeps other processes from changing what belongs to an account until the commit. A write that counts what a user has, in
    /// order to add to it, calls this before it counts.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn lock_account(&mut self, user_sn: UserSn) -> Result<(), StorageError> {
        if self.engine() == Engine::Sqlite {
            return Ok(());
        }
        let sql = "SELECT 1 FROM accounts WHERE user_sn = $1 FOR_UPDATE";
        self.query(sql, params![user_sn], |_| Ok(())).await.map(drop)
    }

    /// Makes everything stale that is being built on the room as it is: appends that are under way, on every node, are
    /// refused and built again. A write that removes events or rooms, or replaces their stored states, calls this first, in the
    /// same transaction; `chunk_collection` says why.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn renew_head(&mut self, room_sn: RoomSn) -> Result<(), StorageError> {
        // Tells the writers of other nodes, which remember heads as long as only they move the log.
        self.next_position().await?;
        self.known.remove_head(room_sn);
        let sql = "UPDATE room_heads SET head_version = head_version + $2 WHERE room_sn = $1";
        self.execute(sql, params![room_sn, later_version(0)]).await.map(drop)
    }
}
