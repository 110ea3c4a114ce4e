//! The backup of keys that decrypt messages.
//!
//! Keys are put into the newest version only, so that a client which does not know of it begins again. Of two keys for one session the
//! better one is kept.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>

mod sessions;

use bytes::Bytes;
use homeserver_core::UserSn;
use serde_json::value::RawValue;
use storage::{Database, StorageError};
pub use storage::{KeyBackup, SessionFilter};

pub use self::sessions::{KeyData, RoomSessions, Rooms, UploadedKey};

/// The most bytes of what a version has for the clients, and of one key.
const MAX_JSON_BYTES: usize = 64 << 10;
/// The most versions that a user keeps.
const MAX_VERSIONS: i64 = 100;
/// Keys of a deleted version that are removed at once.
const REMOVED_AT_ONCE: i64 = 2_000;

/// Why something could not be done with a backup. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no such backup, or no such key in it.
    #[error("There is no such backup, or it does not have this key")]
    NotFound,
    /// Another version is in use.
    #[error("Keys are backed up to version {0} now")]
    WrongVersion(i64),
    /// The algorithm of a version cannot be changed.
    #[error("algorithm: the algorithm of a backup cannot be changed")]
    OtherAlgorithm,
    /// The body is about another version than the path.
    #[error("version: the body names another version than the path")]
    OtherVersion,
    /// There are too many versions, or too many keys in one.
    #[error("{0}")]
    TooMany(String),
    /// Something has not the form that it must have.
    #[error("{0}")]
    Malformed(String),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Keeps the backups of users.
pub struct Backups {
    database: Database,
}

impl Backups {
    /// Backups in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Begins a new version, and tells which one.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn create(&self, user_sn: UserSn, algorithm: String, auth_data: &RawValue) -> Result<i64, BackupError> {
        if algorithm.is_empty() || algorithm.len() > 255 {
            return Err(BackupError::Malformed("algorithm: it has between 1 and 255 bytes".to_owned()));
        }
        let auth_data = object("auth_data", auth_data)?;
        let created = self.database.create_key_backup(user_sn, algorithm, auth_data, MAX_VERSIONS).await?;
        let sentence = || format!("A user has at most {MAX_VERSIONS} backups: delete one that is not in use");
        created.ok_or_else(|| BackupError::TooMany(sentence()))
    }

    /// A version, or the newest one.
    ///
    /// # Errors
    /// [`BackupError::NotFound`] if there is none.
    pub async fn version(&self, user_sn: UserSn, version: Option<&str>) -> Result<KeyBackup, BackupError> {
        let version = version.map(number).transpose()?;
        self.database.key_backup(user_sn, version).await?.ok_or(BackupError::NotFound)
    }

    /// Replaces what a version has for the clients.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn update(
        &self,
        user_sn: UserSn,
        version: &str,
        algorithm: &str,
        named: Option<&str>,
        auth_data: &RawValue,
    ) -> Result<(), BackupError> {
        let auth_data = object("auth_data", auth_data)?;
        let known = self.version(user_sn, Some(version)).await?;
        if named.is_some_and(|named| named != version) {
            return Err(BackupError::OtherVersion);
        }
        if *known.algorithm != *algorithm {
            return Err(BackupError::OtherAlgorithm);
        }
        let is_updated = self.database.set_key_backup_auth_data(user_sn, known.version, auth_data).await?;
        if is_updated { Ok(()) } else { Err(BackupError::NotFound) }
    }

    /// Deletes a version with all that is in it.
    ///
    /// # Errors
    /// [`BackupError::NotFound`] if there is none.
    pub async fn delete(&self, user_sn: UserSn, version: &str) -> Result<(), BackupError> {
        let version = number(version)?;
        if !self.database.delete_key_backup(user_sn, version).await? {
            return Err(BackupError::NotFound);
        }
        // Nobody is shown them any more. What a crash leaves is removed once a day.
        while self.database.remove_sessions_of_deleted_backup(user_sn, version, REMOVED_AT_ONCE).await? > 0 {}
        Ok(())
    }
}

/// The number of a version, which clients take for a text.
fn number(version: &str) -> Result<i64, BackupError> {
    version.parse().map_err(|_| BackupError::NotFound)
}

/// A JSON object that only clients read.
fn object(place: &str, json: &RawValue) -> Result<Bytes, BackupError> {
    if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json.get()).is_err() {
        return Err(BackupError::Malformed(format!("{place}: it must be an object that can be read")));
    }
    if json.get().len() > MAX_JSON_BYTES {
        return Err(BackupError::Malformed(format!("{place}: it has at most {MAX_JSON_BYTES} bytes")));
    }
    Ok(Bytes::from(json.get().to_owned()))
}
