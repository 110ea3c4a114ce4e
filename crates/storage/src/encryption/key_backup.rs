//! The backup of keys that decrypt messages, which only the user's clients can read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use homeserver_core::UserSn;

use crate::{Database, Row, StorageError, Tx, Value, params};
use database::ROWS_AT_ONCE;

/// A version of a user's backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyBackup {
    /// The version.
    pub version: i64,
    /// How the keys are encrypted.
    pub algorithm: Box<str>,
    /// JSON for the clients.
    pub auth_data: Bytes,
    /// Grows with every change of what is in it.
    pub etag: i64,
    /// How many sessions are in it.
    pub sessions: i64,
}

/// The key of a session in a room, as it is backed up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackedUpSession {
    /// The room.
    pub room_id: Box<str>,
    /// The session.
    pub session_id: Box<str>,
    /// Whether the device that the key came from was verified.
    pub is_verified: bool,
    /// The first message that the key decrypts.
    pub first_message_index: i64,
    /// How often the key was forwarded.
    pub forwarded_count: i64,
    /// The encrypted key, JSON.
    pub session_data: Bytes,
}

impl BackedUpSession {
    /// Whether this key is better than the one that is stored.
    fn replaces(&self, stored: &Rank) -> bool {
        // A verified key comes first, then one that decrypts more, then one that was forwarded less often.
        let rank = |is_verified: bool, first: i64, forwarded: i64| (!is_verified, first, forwarded);
        rank(self.is_verified, self.first_message_index, self.forwarded_count)
            < rank(stored.is_verified, stored.first_message_index, stored.forwarded_count)
    }
}

/// By what keys of the same session are compared.
struct Rank {
    is_verified: bool,
    first_message_index: i64,
    forwarded_count: i64,
}

/// Which sessions are meant.
#[derive(Clone, Debug)]
pub enum SessionFilter {
    /// All.
    All,
    /// Those of one room.
    Room(Box<str>),
    /// One session of a room.
    Session(Box<str>, Box<str>),
}

/// What became of a change of a backup: the version as it is now; or, if another version is in use, that one.
pub type StoredSessions = Result<KeyBackup, Option<i64>>;

const CURRENT: &str = "SELECT version, algorithm, auth_data, etag, sessions FROM key_backups \
                       WHERE user_sn = $1 AND is_deleted = FALSE ORDER BY version DESC LIMIT 1";
const ONE: &str = "SELECT version, algorithm, auth_data, etag, sessions FROM key_backups \
                   WHERE user_sn = $1 AND version = $2 AND is_deleted = FALSE";

fn read_backup(row: &Row<'_>) -> Result<KeyBackup, StorageError> {
    Ok(KeyBackup {
        version: row.get(0)?,
        algorithm: row.get(1)?,
        auth_data: row.get(2)?,
        etag: row.get(3)?,
        sessions: row.get(4)?,
    })
}

fn read_session(row: &Row<'_>) -> Result<BackedUpSession, StorageError> {
    Ok(BackedUpSession {
        room_id: row.get(0)?,
        session_id: row.get(1)?,
        is_verified: row.get(2)?,
        first_message_index: row.get(3)?,
        forwarded_count: row.get(4)?,
        session_data: row.get(5)?,
    })
}

impl Database {
    /// A version of a user's backup: the newest one, if none is named.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn key_backup(&self, user_sn: UserSn, version: Option<i64>) -> Result<Option<KeyBackup>, StorageError> {
        match version {
            Some(version) => self.query_optional(ONE, params![user_sn, version], read_backup).await,
            None => self.query_optional(CURRENT, params![user_sn], read_backup).await,
        }
    }

    /// Begins a new version, and tells which one; `None` if the user has `most` already.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn create_key_backup(
        &self,
        user_sn: UserSn,
        algorithm: String,
        auth_data: Bytes,
        most: i64,
    ) -> Result<Option<i64>, StorageError> {
        let count = "SELECT COUNT(*) FROM key_backups WHERE user_sn = $1 AND is_deleted = FALSE";
        let newest = "SELECT version FROM key_backups WHERE user_sn = $1 ORDER BY version DESC LIMIT 1";
        let sql = "INSERT INTO key_backups (user_sn, version, algorithm, auth_data, etag, sessions, is_deleted) \
                   VALUES ($1, $2, $3, $4, 0, 0, FALSE)";
        self.write(async move |tx| {
            tx.hold_log().await?;
            let kept = tx.query_optional(count, params![user_sn], |row| row.get::<i64>(0)).await?;
            if kept.is_some_and(|kept| kept >= most) {
                return Ok(None);
            }
            let before = tx.query_optional(newest, params![user_sn], |row| row.get::<i64>(0)).await?;
            let version = before.unwrap_or(0) + 1;
            tx.execute(sql, params![user_sn, version, &algorithm, &auth_data]).await?;
            Ok(Some(version))
        })
        .await
    }

    /// Replaces what a version has for the clients. Tells whether there is such a version of this algorithm.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_key_backup_auth_data(
        &self,
        user_sn: UserSn,
        version: i64,
        auth_data: Bytes,
    ) -> Result<bool, StorageError> {
        let sql = "UPDATE key_backups SET auth_data = $3 WHERE user_sn = $1 AND version = $2 AND is_deleted = FALSE";
        self.write(async move |tx| Ok(tx.execute(sql, params![user_sn, version, &auth_data]).await? > 0)).await
    }

    /// The sessions in a version.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn backed_up_sessions(
        &self,
        user_sn: UserSn,
        version: i64,
        filter: &SessionFilter,
    ) -> Result<Vec<BackedUpSession>, StorageError> {
        let all = "SELECT room_id, session_id, is_verified, first_message_index, forwarded_count, session_data \
                   FROM key_backup_sessions WHERE user_sn = $1 AND version = $2 ORDER BY room_id, session_id";
        let room = "SELECT room_id, session_id, is_verified, first_message_index, forwarded_count, session_data \
                    FROM key_backup_sessions WHERE user_sn = $1 AND version = $2 AND room_id = $3 ORDER BY session_id";
        let one = "SELECT room_id, session_id, is_verified, first_message_index, forwarded_count, session_data \
                   FROM key_backup_sessions WHERE user_sn = $1 AND version = $2 AND room_id = $3 AND session_id = $4";
        match filter {
            SessionFilter::All => self.query(all, params![user_sn, version], read_session).await,
            SessionFilter::Room(room_id) => self.query(room, params![user_sn, version, room_id], read_session).await,
            SessionFilter::Session(room_id, session_id) => {
                self.query(one, params![user_sn, version, room_id, session_id], read_session).await
            }
        }
    }

    /// Stores keys in the version in use. A stored key is replaced only by a better one. `None` if it would have more than `most`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn back_up_sessions(
        &self,
        user_sn: UserSn,
        version: i64,
        sessions: Vec<BackedUpSession>,
        most: i64,
    ) -> Result<Option<StoredSessions>, StorageError> {
        self.write(async move |tx| {
            let backup = match tx.backup_in_use(user_sn, version).await? {
                Ok(backup) => backup,
                other => return Ok(Some(other)),
            };
            let stored = tx.ranks(user_sn, version, &sessions).await?;
            // Of two keys for one session the better one.
            let mut better: BTreeMap<(&str, &str), &BackedUpSession> = BTreeMap::new();
            for session in &sessions {
                let key = (&*session.room_id, &*session.session_id);
                let is_better_here = better.get(&key).is_none_or(|other| session.replaces(&rank_of(other)));
                let is_better = stored.get(&key).is_none_or(|stored| session.replaces(stored));
                if is_better && is_better_here {
                    better.insert(key, session);
                }
            }
            let added = better.keys().filter(|key| !stored.contains_key(*key)).count();
            let added = i64::try_from(added).unwrap_or(i64::MAX);
            if added > 0 && backup.sessions.saturating_add(added) > most {
                return Ok(None);
            }
            tx.write_sessions(user_sn, version, better.values().copied()).await?;
            tx.note_backup_change(user_sn, backup, added, !better.is_empty()).await.map(|backup| Some(Ok(backup)))
        })
        .await
    }

    /// Removes keys from the version in use.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn delete_backed_up_sessions(
        &self,
        user_sn: UserSn,
        version: i64,
        filter: SessionFilter,
    ) -> Result<StoredSessions, StorageError> {
        let all = "DELETE FROM key_backup_sessions WHERE user_sn = $1 AND version = $2";
        let room = "DELETE FROM key_backup_sessions WHERE user_sn = $1 AND version = $2 AND room_id = $3";
        let one = "DELETE FROM key_backup_sessions \
                   WHERE user_sn = $1 AND version = $2 AND room_id = $3 AND session_id = $4";
        self.write(async move |tx| {
            tx.hold_log().await?;
            let Some(backup) = tx.query_optional(ONE, params![user_sn, version], read_backup).await? else {
                return Ok(Err(None));
            };
            let removed = match &filter {
                SessionFilter::All => tx.execute(all, params![user_sn, version]).await?,
                SessionFilter::Room(room_id) => tx.execute(room, params![user_sn, version, room_id]).await?,
                SessionFilter::Session(room_id, session_id) => {
                    tx.execute(one, params![user_sn, version, room_id, session_id]).await?
                }
            };
            let removed = i64::try_from(removed).unwrap_or(i64::MAX);
            tx.note_backup_change(user_sn, backup, -removed, removed > 0).await.map(Ok)
        })
        .await
    }
}

fn rank_of(session: &BackedUpSession) -> Rank {
    let BackedUpSession { is_verified, first_message_index, forwarded_count, .. } = session;
    Rank { is_verified: *is_verified, first_message_index: *first_message_index, forwarded_count: *forwarded_count }
}

impl Tx {
    /// The version in use, if it is this one; otherwise its number. Nobody changes it until the commit.
    async fn backup_in_use(&mut self, user_sn: UserSn, version: i64) -> Result<StoredSessions, StorageError> {
        self.hold_log().await?;
        let current = self.query_optional(CURRENT, params![user_sn], read_backup).await?;
        Ok(match current {
            Some(backup) if backup.version == version => Ok(backup),
            other => Err(other.map(|backup| backup.version)),
        })
    }

    /// What is stored of these sessions.
    async fn ranks<'a>(
        &mut self,
        user_sn: UserSn,
        version: i64,
        sessions: &'a [BackedUpSession],
    ) -> Result<HashMap<(&'a str, &'a str), Rank>, StorageError> {
        let keys: BTreeSet<(&str, &str)> =
            sessions.iter().map(|session| (&*session.room_id, &*session.session_id)).collect();
        let keys: Vec<(&str, &str)> = keys.into_iter().collect();
        let mut ranks = HashMap::new();
        let sql = "SELECT r.number, s.is_verified, s.first_message_index, s.forwarded_count \
                   FROM ROWS(number, user_sn, version, room_id, session_id) r JOIN key_backup_sessions s \
                   ON s.user_sn = r.user_sn AND s.version = r.version AND s.room_id = r.room_id \
                   AND s.session_id = r.session_id";
        for keys in keys.chunks(ROWS_AT_ONCE) {
            let rows: Vec<Vec<Value<'_>>> = (0_i64..)
                .zip(keys)
                .map(|(number, (room_id, session_id))| {
                    vec![number.into(), user_sn.into(), version.into(), (*room_id).into(), (*session_id).into()]
                })
                .collect();
            let read = |row: &Row<'_>| {
                let (is_verified, first_message_index, forwarded_count) = (row.get(1)?, row.get(2)?, row.get(3)?);
                Ok((row.get::<i64>(0)?, Rank { is_verified, first_message_index, forwarded_count }))
            };
            let found = self.query_rows(sql, &rows, read).await?;
            ranks.extend(found.into_iter().filter_map(|(number, rank)| {
                let key = keys.get(usize::try_from(number).ok()?)?;
                Some((*key, rank))
            }));
        }
        Ok(ranks)
    }

    async fn write_sessions(
        &mut self,
        user_sn: UserSn,
        version: i64,
        sessions: impl Iterator<Item = &BackedUpSession>,
    ) -> Result<(), StorageError> {
        let rows: Vec<Vec<Value<'_>>> = sessions
            .map(|session| {
                vec![
                    user_sn.into(),
                    version.into(),
                    (&session.room_id).into(),
                    (&session.session_id).into(),
                    session.is_verified.into(),
                    session.first_message_index.into(),
                    session.forwarded_count.into(),
                    (&session.session_data).into(),
                ]
            })
            .collect();
        let into = "key_backup_sessions (user_sn, version, room_id, session_id, is_verified, first_message_index, \
                    forwarded_count, session_data) ON CONFLICT (user_sn, version, room_id, session_id) DO UPDATE SET \
                    is_verified = excluded.is_verified, first_message_index = excluded.first_message_index, \
                    forwarded_count = excluded.forwarded_count, session_data = excluded.session_data";
        for rows in rows.chunks(ROWS_AT_ONCE) {
            self.insert_all(into, rows).await?;
        }
        Ok(())
    }

    /// The version after a change of what is in it.
    async fn note_backup_change(
        &mut self,
        user_sn: UserSn,
        mut backup: KeyBackup,
        added: i64,
        has_changed: bool,
    ) -> Result<KeyBackup, StorageError> {
        if has_changed {
            backup.etag += 1;
            backup.sessions += added;
            let sql = "UPDATE key_backups SET etag = $3, sessions = $4 WHERE user_sn = $1 AND version = $2";
            self.execute(sql, params![user_sn, backup.version, backup.etag, backup.sessions]).await?;
        }
        Ok(backup)
    }
}
