//! The keys in a backup.

use std::collections::BTreeMap;

use homeserver_core::UserSn;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use storage::{BackedUpSession, KeyBackup, SessionFilter, StorageError};

use super::{BackupError, Backups, number, object};

/// The most bytes of the ID of a room or a session.
const MAX_ID_BYTES: usize = 255;
/// The most keys in a version.
const MAX_SESSIONS: i64 = 500_000;
/// The largest number that JSON of Matrix has.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The key of a session, as clients write it.
#[derive(Deserialize, Debug)]
pub struct UploadedKey {
    first_message_index: u64,
    forwarded_count: u64,
    is_verified: bool,
    session_data: Box<RawValue>,
}

/// The key of a session, as clients are shown it.
#[derive(Serialize, Debug)]
pub struct KeyData {
    first_message_index: i64,
    forwarded_count: i64,
    is_verified: bool,
    session_data: Box<RawValue>,
}

/// Keys by session.
#[derive(Default, Deserialize, Serialize, Debug)]
pub struct RoomSessions<K> {
    /// The keys.
    pub sessions: BTreeMap<String, K>,
}

/// Keys by room and session.
#[derive(Deserialize, Serialize, Debug)]
pub struct Rooms<K> {
    /// The rooms.
    pub rooms: BTreeMap<String, RoomSessions<K>>,
}

impl Backups {
    /// Stores keys in a version. A stored key is replaced only by a better one.
    ///
    /// # Errors
    /// [`BackupError::WrongVersion`] if another version is in use.
    pub async fn put(
        &self,
        user_sn: UserSn,
        version: &str,
        keys: Rooms<UploadedKey>,
    ) -> Result<KeyBackup, BackupError> {
        let mut sessions = Vec::new();
        for (room_id, room) in keys.rooms {
            for (session_id, key) in room.sessions {
                sessions.push(checked(&room_id, &session_id, &key)?);
            }
        }
        let stored = self.database.back_up_sessions(user_sn, number(version)?, sessions, MAX_SESSIONS).await?;
        let sentence = || format!("A backup has at most {MAX_SESSIONS} keys: begin a new one");
        stored
            .ok_or_else(|| BackupError::TooMany(sentence()))?
            .map_err(|current| current.map_or(BackupError::NotFound, BackupError::WrongVersion))
    }

    /// The keys in a version.
    ///
    /// # Errors
    /// [`BackupError::NotFound`] if there is no such version.
    pub async fn keys(
        &self,
        user_sn: UserSn,
        version: &str,
        filter: &SessionFilter,
    ) -> Result<Rooms<KeyData>, BackupError> {
        let backup = self.version(user_sn, Some(version)).await?;
        let mut rooms: BTreeMap<String, RoomSessions<KeyData>> = BTreeMap::new();
        for session in self.database.backed_up_sessions(user_sn, backup.version, filter).await? {
            let BackedUpSession { room_id, session_id, session_data, .. } = &session;
            let corrupt = |error: serde_json::Error| StorageError::Corrupt(format!("the backup of a key: {error}"));
            let key = KeyData {
                first_message_index: session.first_message_index,
                forwarded_count: session.forwarded_count,
                is_verified: session.is_verified,
                session_data: serde_json::from_slice(session_data).map_err(corrupt)?,
            };
            let room = rooms.entry(room_id.to_string()).or_insert_with(|| RoomSessions { sessions: BTreeMap::new() });
            room.sessions.insert(session_id.to_string(), key);
        }
        Ok(Rooms { rooms })
    }

    /// Removes keys from a version.
    ///
    /// # Errors
    /// [`BackupError::NotFound`] if there is no such version.
    pub async fn remove(
        &self,
        user_sn: UserSn,
        version: &str,
        filter: SessionFilter,
    ) -> Result<KeyBackup, BackupError> {
        let removed = self.database.delete_backed_up_sessions(user_sn, number(version)?, filter).await?;
        removed.map_err(|_| BackupError::NotFound)
    }
}

fn checked(room_id: &str, session_id: &str, key: &UploadedKey) -> Result<BackedUpSession, BackupError> {
    let place = || format!("rooms.{room_id}.sessions.{session_id}");
    if [room_id, session_id].iter().any(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
        let sentence = format!("{}: an ID has between 1 and {MAX_ID_BYTES} bytes", place());
        return Err(BackupError::Malformed(sentence));
    }
    let counted = |number: u64| i64::try_from(number.min(MAX_NUMBER)).unwrap_or(i64::MAX);
    Ok(BackedUpSession {
        room_id: room_id.into(),
        session_id: session_id.into(),
        is_verified: key.is_verified,
        first_message_index: counted(key.first_message_index),
        forwarded_count: counted(key.forwarded_count),
        session_data: object(&format!("{}.session_data", place()), &key.session_data)?,
    })
}
