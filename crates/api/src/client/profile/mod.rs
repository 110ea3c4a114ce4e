//! `/_matrix/client/v3/profile/{userId}…`

mod change;
mod read;

pub(super) use self::change::{remove, set};
pub(super) use self::read::{field, whole};

use accounts::profiles::ProfileError;

use crate::client::error::ClientError;
use crate::error::ApiError;

impl From<ProfileError> for ClientError {
    fn from(error: ProfileError) -> Self {
        Self(match error {
            ProfileError::NoSuchUser | ProfileError::NoSuchField => ApiError::not_found(error.to_string()),
            ProfileError::NameTooLong => ApiError::key_too_large(error.to_string()),
            ProfileError::InvalidName | ProfileError::InvalidValue(_) => ApiError::invalid_param(error.to_string()),
            ProfileError::TooLarge => ApiError::profile_too_large(error.to_string()),
            ProfileError::Storage(error) => error.into(),
        })
    }
}
