//! Keeping others from what a transaction reads until it has ended.

use homeserver_core::{RoomSn, UserSn};

use super::Tx;
use crate::append::later_version;
use crate::{Engine, StorageError, params};

impl Tx {
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
        self.0.memory_mut().rooms.remove_head(room_sn);
        let sql = "UPDATE room_heads SET head_version = head_version + $2 WHERE room_sn = $1";
        self.execute(sql, params![room_sn, later_version(0)]).await.map(drop)
    }
}
