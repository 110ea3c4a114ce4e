//! `/_matrix/client/v3/account/…`

pub(super) mod deactivate;
pub(super) mod password;
pub(super) mod whoami;

use accounts::AccountError;
use accounts::uia::UiaError;

use crate::client::error::ClientError;
use crate::error::ApiError;

impl From<AccountError> for ClientError {
    fn from(error: AccountError) -> Self {
        Self(match error {
            AccountError::WrongPassword | AccountError::PasswordChanged => ApiError::forbidden(error.to_string()),
            AccountError::Deactivated => ApiError::user_deactivated(error.to_string()),
            AccountError::ConfirmationUsedUp => ApiError::threepid_auth_failed(error.to_string()),
            AccountError::NoSuchUser => ApiError::not_found(error.to_string()),
            AccountError::OtherServer(error) => ApiError::invalid_param(error.to_string()),
            AccountError::PasswordsDisabled => ApiError::forbidden(error.to_string()),
            AccountError::LimitExceeded(error) => error.into(),
            AccountError::Password(error) => error.into(),
            AccountError::Storage(error) => error.into(),
        })
    }
}

impl From<UiaError> for ClientError {
    fn from(error: UiaError) -> Self {
        Self(match error {
            UiaError::Incomplete(challenge) => match challenge.body() {
                serde_json::Value::Object(body) => ApiError::user_interactive(body),
                _ => ApiError::forbidden("User-interactive authentication is required"),
            },
            UiaError::LoginRequired => ApiError::missing_token(error.to_string()),
            UiaError::Registration(error) => error.into(),
            UiaError::OtherUser | UiaError::Changed => ApiError::forbidden(error.to_string()),
            UiaError::LimitExceeded(error) => error.into(),
            UiaError::Account(error) => return error.into(),
            UiaError::Storage(error) => error.into(),
        })
    }
}
