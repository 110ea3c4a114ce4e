//! Push rules of this server's users, and whom an event in a room is evaluated for.

use bytes::Bytes;
use homeserver_core::{Position, RoomSn, UserSn};

use crate::account_data::IGNORED_USERS;
use crate::{Database, LogEntry, Row, StorageError, Tx, params};

/// What a user changed of the default push rules.
#[derive(Clone, Debug)]
pub struct StoredPushRules {
    /// The rules that differ from the default ones, as JSON.
    pub rules: Bytes,
    /// Where in the log they were last changed.
    pub position: Position,
}

/// A member of a room who is a user of this server.
#[derive(Clone, Debug)]
pub struct AudienceMember {
    /// The user.
    pub user_sn: UserSn,
    /// The user's ID.
    pub user_id: String,
    /// What the user changed of the default push rules, as JSON.
    pub rules: Option<Bytes>,
    /// The content of the user's `m.ignored_user_list`.
    pub ignored: Option<Bytes>,
}

fn read_member(row: &Row<'_>) -> Result<AudienceMember, StorageError> {
    let bytes = |column| Ok::<_, StorageError>(row.get::<Option<Vec<u8>>>(column)?.map(Bytes::from));
    Ok(AudienceMember { user_sn: row.get(0)?, user_id: row.get(1)?, rules: bytes(2)?, ignored: bytes(3)? })
}

/// The members of the room `$1` with an account; `$2` is the type of account data that says whom they ignore.
macro_rules! audience_query {
    ($condition:literal) => {
        concat!(
            "SELECT m.user_sn, u.user_id, p.rules, i.content FROM memberships m ",
            "JOIN accounts a ON a.user_sn = m.user_sn JOIN users u ON u.user_sn = m.user_sn ",
            "LEFT JOIN push_rules p ON p.user_sn = m.user_sn ",
            "LEFT JOIN account_data i ON i.user_sn = m.user_sn AND i.room_sn = 0 AND i.data_type = $2 ",
            "WHERE m.room_sn = $1 AND m.membership = 1",
            $condition
        )
    };
}

const READ: &str = "SELECT rules, position FROM push_rules WHERE user_sn = $1";

fn read_rules(row: &Row<'_>) -> Result<StoredPushRules, StorageError> {
    Ok(StoredPushRules { rules: row.get(0)?, position: row.get(1)? })
}

impl Database {
    /// What a user changed of the default push rules; `None` if the user never changed anything.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn push_rules(&self, user_sn: UserSn) -> Result<Option<StoredPushRules>, StorageError> {
        self.query_optional(READ, params![user_sn], read_rules).await
    }

    /// The members of a room who are users of this server, with what decides whether an event notifies them.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn audience(&self, room_sn: RoomSn) -> Result<Vec<AudienceMember>, StorageError> {
        self.query(audience_query!(""), params![room_sn, IGNORED_USERS], read_member).await
    }

    /// Those of `users` who are among [`Database::audience`].
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn audience_among(&self, room_sn: RoomSn, users: &[i64]) -> Result<Vec<AudienceMember>, StorageError> {
        let sql = audience_query!(" AND m.user_sn IN LIST($3)");
        self.query(sql, params![room_sn, IGNORED_USERS, users], read_member).await
    }
}

impl Tx {
    /// As [`Database::push_rules`], for changing them: no other process changes them before the commit.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn push_rules(&mut self, user_sn: UserSn) -> Result<Option<StoredPushRules>, StorageError> {
        self.hold_log().await?;
        self.query_optional(READ, params![user_sn], read_rules).await
    }

    /// Replaces what a user changed of the default push rules, and publishes that in the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn set_push_rules(&mut self, user_sn: UserSn, rules: &[u8]) -> Result<(), StorageError> {
        let position = self.next_position().await?;
        let sql = "INSERT INTO push_rules (user_sn, rules, position) VALUES ($1, $2, $3) \
                   ON CONFLICT (user_sn) DO UPDATE SET rules = excluded.rules, position = excluded.position";
        self.execute(sql, params![user_sn, rules, position]).await?;
        self.publish(LogEntry::NotificationRules { position, user_sn });
        self.publish(LogEntry::AccountData { position, user_sn, room_sn: None });
        Ok(())
    }
}
