//! Reports, and what administrators do with accounts.

pub(super) mod report;
pub(super) mod standing;
pub(crate) mod whois;

use accounts::moderation::ModerationError;

use crate::error::ApiError;

/// Administrators are told the same here and by the admin API.
impl From<ModerationError> for ApiError {
    fn from(error: ModerationError) -> Self {
        let sentence = error.to_string();
        match error {
            ModerationError::NotLocal => Self::invalid_param(sentence),
            ModerationError::NoSuchUser => Self::not_found(sentence),
            ModerationError::Administrator | ModerationError::NotAllowed => Self::forbidden(sentence),
            ModerationError::Storage(error) => error.into(),
        }
    }
}
