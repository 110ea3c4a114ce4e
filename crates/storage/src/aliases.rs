//! Room aliases of this server.

use homeserver_core::{RoomSn, Timestamp, UserSn};

use crate::{Database, StorageError, Tx, params};

/// Where an alias points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomAlias {
    /// The room.
    pub room_sn: RoomSn,
    /// Who made it.
    pub creator_sn: UserSn,
}

impl Database {
    /// Where `alias` points to.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn room_alias(&self, alias: &str) -> Result<Option<RoomAlias>, StorageError> {
        // PostgreSQL cannot hold U+0000 in text, so no such alias exists.
        if alias.contains('\0') {
            return Ok(None);
        }
        let sql = "SELECT room_sn, creator_sn FROM room_aliases WHERE alias = $1";
        let read = |row: &crate::Row<'_>| Ok(RoomAlias { room_sn: row.get(0)?, creator_sn: row.get(1)? });
        self.query_optional(sql, params![alias], read).await
    }

    /// The aliases that point to a room, in alphabetical order.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn aliases_of_room(&self, room_sn: RoomSn) -> Result<Vec<String>, StorageError> {
        let sql = "SELECT alias FROM room_aliases WHERE room_sn = $1 ORDER BY alias";
        self.query(sql, params![room_sn], |row| row.get(0)).await
    }

    /// How many aliases point to a room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn count_aliases_of_room(&self, room_sn: RoomSn) -> Result<i64, StorageError> {
        let sql = "SELECT COUNT(*) FROM room_aliases WHERE room_sn = $1";
        Ok(self.query_optional(sql, params![room_sn], |row| row.get(0)).await?.unwrap_or(0))
    }

    /// Makes an alias; tells whether it was free.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn add_room_alias(
        &self,
        alias: String,
        room_sn: RoomSn,
        creator_sn: UserSn,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let sql = "INSERT INTO room_aliases (alias, room_sn, creator_sn, created_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (alias) DO NOTHING";
        self.write(async move |tx| Ok(tx.execute(sql, params![&alias, room_sn, creator_sn, now]).await? > 0)).await
    }

    /// Removes an alias; tells whether there was one.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_room_alias(&self, alias: String) -> Result<bool, StorageError> {
        self.write(async move |tx| tx.remove_room_alias(&alias).await).await
    }
}

impl Tx {
    /// Makes an alias.
    ///
    /// # Errors
    /// [`StorageError::Constraint`] if it is taken.
    pub async fn add_room_alias(
        &mut self,
        alias: &str,
        room_sn: RoomSn,
        creator_sn: UserSn,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let sql = "INSERT INTO room_aliases (alias, room_sn, creator_sn, created_at) VALUES ($1, $2, $3, $4)";
        self.execute(sql, params![alias, room_sn, creator_sn, now]).await.map(drop)
    }

    /// Removes an alias; tells whether there was one.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn remove_room_alias(&mut self, alias: &str) -> Result<bool, StorageError> {
        Ok(self.execute("DELETE FROM room_aliases WHERE alias = $1", params![alias]).await? > 0)
    }
}
