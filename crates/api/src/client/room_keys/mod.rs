//! `/_matrix/client/v3/room_keys/…`

pub(super) mod all;
pub(super) mod room;
pub(super) mod session;
pub(super) mod version;

use encryption::backup::{BackupError, KeyBackup};
use serde::{Deserialize, Serialize};

use crate::client::error::ClientError;
use crate::error::ApiError;

/// Which version the keys are of.
#[derive(Deserialize, Debug)]
pub(crate) struct OfVersion {
    version: String,
}

/// What a change of the keys came to.
#[derive(Serialize)]
pub(crate) struct ChangeAnswer {
    count: i64,
    etag: String,
}

impl From<KeyBackup> for ChangeAnswer {
    fn from(backup: KeyBackup) -> Self {
        Self { count: backup.sessions, etag: backup.etag.to_string() }
    }
}

impl From<BackupError> for ClientError {
    fn from(error: BackupError) -> Self {
        Self(match error {
            BackupError::NotFound => ApiError::not_found(error.to_string()),
            BackupError::WrongVersion(current) => {
                ApiError::wrong_room_keys_version(error.to_string()).with_field("current_version", current.to_string())
            }
            BackupError::OtherAlgorithm | BackupError::OtherVersion => ApiError::invalid_param(error.to_string()),
            BackupError::TooMany(_) => ApiError::resource_limit_exceeded(error.to_string()),
            BackupError::Malformed(_) => ApiError::bad_json(error.to_string()),
            BackupError::Storage(error) => error.into(),
        })
    }
}
