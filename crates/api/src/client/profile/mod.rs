//! `/_matrix/client/v3/profile/{userId}…`

mod change;
mod read;

pub(super) use self::change::{remove, set};
pub(super) use self::read::{field, whole};

use accounts::profiles::ProfileError;

use crate::error::ApiError;

impl From<ProfileError> for ApiError {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::NoSuchUser | ProfileError::NoSuchField => Self::not_found(error.to_string()),
            ProfileError::NameTooLong => Self::key_too_large(error.to_string()),
            ProfileError::InvalidName | ProfileError::InvalidValue(_) => Self::invalid_param(error.to_string()),
            ProfileError::TooLarge => Self::profile_too_large(error.to_string()),
            ProfileError::Storage(error) => error.into(),
        }
    }
}
