//! What goes wrong where an account is made: clients and administrators are told the same.

use accounts::passwords::PasswordError;
use accounts::registration::RegistrationError;
use accounts::sessions::DeviceError;

use super::ApiError;

impl From<RegistrationError> for ApiError {
    fn from(error: RegistrationError) -> Self {
        match error {
            RegistrationError::Closed
            | RegistrationError::PasswordsDisabled
            | RegistrationError::TokenUsedUp
            | RegistrationError::AnotherGuest => Self::forbidden(error.to_string()),
            RegistrationError::GuestToken(error) => error.into(),
            RegistrationError::EmailInUse => Self::threepid_in_use(error.to_string()),
            RegistrationError::ConfirmationUsedUp => Self::threepid_auth_failed(error.to_string()),
            RegistrationError::NoGuests => Self::guest_access_forbidden(error.to_string()),
            RegistrationError::InvalidUsername(sentence) => Self::invalid_username(sentence),
            RegistrationError::OtherServer(error) => Self::invalid_username(error.to_string()),
            RegistrationError::Device(error) => error.into(),
            RegistrationError::SessionUsedUp => Self::forbidden(error.to_string()),
            RegistrationError::UserInUse => Self::user_in_use(error.to_string()),
            RegistrationError::Password(error) => error.into(),
            RegistrationError::Storage(error) => error.into(),
        }
    }
}

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

impl From<DeviceError> for ApiError {
    fn from(error: DeviceError) -> Self {
        Self::invalid_param(error.to_string())
    }
}
