//! `/_matrix/client/v3/account/…`

pub(super) mod deactivate;
pub(super) mod password;
pub(super) mod whoami;

use accounts::AccountError;
use accounts::passwords::PasswordError;
use accounts::uia::UiaError;

use crate::error::ApiError;

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match &error {
            PasswordError::Empty | PasswordError::TooShort { .. } | PasswordError::TooWeak { .. } => {
                Self::weak_password(error.to_string())
            }
            PasswordError::TooLong => Self::invalid_param(error.to_string()),
            PasswordError::Busy(busy) => (*busy).into(),
            PasswordError::Hashing(_) => Self::internal("Hashing a password", &error),
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::WrongPassword | AccountError::PasswordChanged => Self::forbidden(error.to_string()),
            AccountError::Deactivated => Self::user_deactivated(error.to_string()),
            AccountError::ConfirmationUsedUp => Self::threepid_auth_failed(error.to_string()),
            AccountError::NoSuchUser => Self::not_found(error.to_string()),
            AccountError::OtherServer(error) => Self::invalid_param(error.to_string()),
            AccountError::PasswordsDisabled => Self::forbidden(error.to_string()),
            AccountError::LimitExceeded(error) => error.into(),
            AccountError::Password(error) => error.into(),
            AccountError::Storage(error) => error.into(),
        }
    }
}

impl From<UiaError> for ApiError {
    fn from(error: UiaError) -> Self {
        match error {
            UiaError::Incomplete(challenge) => match challenge.body() {
                serde_json::Value::Object(body) => Self::user_interactive(body),
                _ => Self::forbidden("User-interactive authentication is required"),
            },
            UiaError::LoginRequired => Self::missing_token(error.to_string()),
            UiaError::Registration(error) => error.into(),
            UiaError::OtherUser | UiaError::Changed => Self::forbidden(error.to_string()),
            UiaError::LimitExceeded(error) => error.into(),
            UiaError::Account(error) => error.into(),
            UiaError::Storage(error) => error.into(),
        }
    }
}
