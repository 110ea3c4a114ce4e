//! The keys of users of other servers, as far as they are kept.
//!
//! They are of use only for as long as a room has been shared with the user without a pause since they were asked for: the user's server
//! tells of changes for no longer. That is found out when they are read, so nothing has to be removed at the moment when somebody leaves.

use bytes::Bytes;
use homeserver_core::{Position, ServerSn, UserSn};

use crate::{Database, Row, StorageError, Tx, Value, params};

/// The keys of a user of another server.
#[derive(Clone, Debug)]
pub struct RemoteDeviceList {
    /// Whose.
    pub user_sn: UserSn,
    /// Grows with every change that the user's server tells of.
    pub version: i64,
    /// The number of the last change in it, by the count of the user's server.
    pub stream_id: Option<i64>,
    /// Whether there is no change that is not in it, and a room has been shared with the user ever since it was asked for.
    pub is_current: bool,
    /// The keys; `None` if they were never told.
    pub keys: Option<Bytes>,
}

/// Keys that another server has told.
#[derive(Clone, Debug)]
pub struct ToldDeviceList {
    /// Whose.
    pub user_sn: UserSn,
    /// The user's server.
    pub server_sn: ServerSn,
    /// The version that was stored when they were asked for; `None` if nothing was.
    pub known_version: Option<i64>,
    /// The number of the last change in it, if that was told.
    pub stream_id: Option<i64>,
    /// The end of the log when they were asked for.
    pub asked_at: Position,
    /// The keys.
    pub keys: Bytes,
    /// Whether there are any.
    pub is_empty: bool,
}

fn read_list(row: &Row<'_>) -> Result<RemoteDeviceList, StorageError> {
    Ok(RemoteDeviceList {
        user_sn: row.get(0)?,
        version: row.get(1)?,
        stream_id: row.get(2)?,
        is_current: row.get(3)?,
        keys: row.get(4)?,
    })
}

impl Database {
    /// What is kept of the keys of these users.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn remote_device_lists(&self, users: &[i64]) -> Result<Vec<RemoteDeviceList>, StorageError> {
        let sql = "SELECT l.user_sn, l.version, l.stream_id, CASE WHEN l.is_current AND EXISTS (SELECT 1 FROM memberships m \
                   WHERE m.user_sn = l.user_sn AND m.membership = 1 AND NOT EXISTS (SELECT 1 FROM membership_changes c \
                   WHERE c.user_sn = m.user_sn AND c.room_sn = m.room_sn AND c.position > l.asked_at) \
                   AND EXISTS (SELECT 1 FROM memberships o WHERE o.is_local = TRUE AND o.room_sn = m.room_sn \
                   AND o.membership = 1 AND NOT EXISTS (SELECT 1 FROM membership_changes c \
                   WHERE c.user_sn = o.user_sn AND c.room_sn = o.room_sn AND c.position > l.asked_at))) \
                   THEN TRUE ELSE FALSE END, l.keys FROM remote_device_lists l WHERE l.user_sn IN LIST($1)";
        self.query(sql, params![users], read_list).await
    }

    /// Those of these users who are in a room with a user of this server.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn users_sharing_rooms(&self, users: &[i64]) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT DISTINCT m.user_sn FROM memberships m WHERE m.user_sn IN LIST($1) AND m.membership = 1 \
                   AND EXISTS (SELECT 1 FROM memberships o WHERE o.is_local = TRUE AND o.room_sn = m.room_sn \
                   AND o.membership = 1)";
        self.query(sql, params![users], |row| row.get(0)).await
    }

    /// The first `limit` users of a server behind `after` whose keys have changed and were not asked for since.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn outdated_device_lists(
        &self,
        server_sn: ServerSn,
        after: UserSn,
        limit: i64,
    ) -> Result<Vec<(UserSn, i64)>, StorageError> {
        let sql = "SELECT user_sn, version FROM remote_device_lists \
                   WHERE server_sn = $1 AND user_sn > $2 AND NOT is_current ORDER BY user_sn LIMIT $3";
        self.query(sql, params![server_sn, after, limit], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// Stores keys that were told, but for those of users of whom a change was told meanwhile. Users of this server learn of it if a change
    /// of keys was told that they may know, or the keys differ from those before.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn store_remote_device_lists(&self, told: Vec<ToldDeviceList>) -> Result<(), StorageError> {
        if told.is_empty() {
            return Ok(());
        }
        self.write(async move |tx| {
            tx.hold_log().await?;
            for list in &told {
                tx.store_remote_device_list(list).await?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets the keys of a user whose server does not tell them any more, unless another change was told meanwhile.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn forget_remote_device_list(&self, user_sn: UserSn, version: i64) -> Result<(), StorageError> {
        let sql = "DELETE FROM remote_device_lists WHERE user_sn = $1 AND version = $2";
        self.write(async move |tx| {
            tx.hold_log().await?;
            if tx.execute(sql, params![user_sn, version]).await? > 0 {
                tx.note_device_list_change(user_sn).await?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets the keys of users with whom no room is shared, of the next `limit` users behind `after`. Returns the last one looked at.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn forget_unshared_device_lists(
        &self,
        after: UserSn,
        limit: i64,
    ) -> Result<Option<UserSn>, StorageError> {
        let sql = "SELECT user_sn FROM remote_device_lists WHERE user_sn > $1 ORDER BY user_sn LIMIT $2";
        let found: Vec<UserSn> = self.query(sql, params![after, limit], |row| row.get(0)).await?;
        let Some(last) = found.last().copied() else { return Ok(None) };
        let numbers: Vec<i64> = found.iter().map(|user_sn| user_sn.0).collect();
        let shared = self.users_sharing_rooms(&numbers).await?;
        let unshared: Vec<i64> =
            found.iter().filter(|user_sn| !shared.contains(user_sn)).map(|user_sn| user_sn.0).collect();
        if !unshared.is_empty() {
            let sql = "DELETE FROM remote_device_lists WHERE user_sn IN LIST($1)";
            self.write(async move |tx| tx.execute(sql, params![&unshared]).await).await?;
        }
        Ok(Some(last))
    }
}

impl Tx {
    /// A server has told that the keys of its users have changed, but not how, or not all of it. Each user is named once.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn outdate_remote_device_lists(
        &mut self,
        server_sn: ServerSn,
        users: &[UserSn],
    ) -> Result<(), StorageError> {
        self.hold_log().await?;
        let rows: Vec<Vec<Value<'_>>> = users.iter().map(|user_sn| vec![(*user_sn).into(), server_sn.into()]).collect();
        let sql = "INSERT INTO remote_device_lists (user_sn, server_sn, version, is_current, asked_at) \
                   SELECT r.user_sn, r.server_sn, 1, FALSE, 0 FROM ROWS(user_sn, server_sn) r WHERE TRUE \
                   ON CONFLICT (user_sn) DO UPDATE SET version = remote_device_lists.version + 1, is_current = FALSE";
        self.execute_rows(sql, &rows).await
    }

    /// A server has told how the keys of its user have changed, in an unbroken row of changes since `version`. Returns whether that is
    /// still the version.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn change_remote_device_list(
        &mut self,
        user_sn: UserSn,
        version: i64,
        stream_id: i64,
        keys: &Bytes,
    ) -> Result<bool, StorageError> {
        self.hold_log().await?;
        let sql = "UPDATE remote_device_lists SET version = version + 1, stream_id = $3, keys = $4 \
                   WHERE user_sn = $1 AND version = $2 AND is_current";
        if self.execute(sql, params![user_sn, version, stream_id, keys]).await? == 0 {
            return Ok(false);
        }
        self.note_device_list_change(user_sn).await?;
        Ok(true)
    }

    async fn store_remote_device_list(&mut self, list: &ToldDeviceList) -> Result<(), StorageError> {
        let known = "SELECT version, is_current, keys FROM remote_device_lists WHERE user_sn = $1";
        let read = |row: &Row<'_>| Ok((row.get::<i64>(0)?, row.get::<bool>(1)?, row.get::<Option<Bytes>>(2)?));
        let before = self.query_optional(known, params![list.user_sn], read).await?;
        if before.as_ref().map(|(version, ..)| *version) != list.known_version {
            return Ok(());
        }
        let sql = "INSERT INTO remote_device_lists (user_sn, server_sn, version, stream_id, is_current, asked_at, keys) \
                   VALUES ($1, $2, 1, $3, TRUE, $4, $5) ON CONFLICT (user_sn) DO UPDATE SET \
                   stream_id = excluded.stream_id, is_current = TRUE, asked_at = excluded.asked_at, keys = excluded.keys";
        let values = params![list.user_sn, list.server_sn, list.stream_id, list.asked_at, &list.keys];
        self.execute(sql, values).await?;
        let is_news = match before {
            None => false,
            Some((_, _, None)) => !list.is_empty,
            Some((_, is_current, Some(before))) => !is_current || before != list.keys,
        };
        if is_news {
            self.note_device_list_change(list.user_sn).await?;
        }
        Ok(())
    }
}
