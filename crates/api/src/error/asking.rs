//! What goes wrong when this server asks another one: everybody on whose behalf it asked is told the same.

use accounts::asking::AskingError;
use encryption::keys::RemoteKeysError;
use federation::RequestError;
use http::StatusCode;

use super::ApiError;

impl From<AskingError> for ApiError {
    fn from(error: AskingError) -> Self {
        match error {
            AskingError::LimitExceeded(error) => error.into(),
            AskingError::Busy(error) => error.into(),
        }
    }
}

impl From<RemoteKeysError> for ApiError {
    fn from(error: RemoteKeysError) -> Self {
        match error {
            RemoteKeysError::Asking(error) => error.into(),
            RemoteKeysError::Storage(error) => error.into(),
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let sentence = error.to_string();
        match error {
            RequestError::Disabled => Self::forbidden(sentence),
            RequestError::Itself | RequestError::Unsigned { .. } => Self::invalid_param(sentence),
            RequestError::Busy(busy) => busy.into(),
            RequestError::Unreachable { .. } => Self::connection_failed(sentence),
            RequestError::TooSlow { .. } => Self::connection_timeout(sentence),
            RequestError::Refused { status: StatusCode::FORBIDDEN, .. } => Self::forbidden(sentence),
            RequestError::Refused { .. } | RequestError::BadAnswer { .. } => {
                Self::unknown(sentence).with_status(StatusCode::BAD_GATEWAY)
            }
        }
    }
}
