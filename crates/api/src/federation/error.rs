//! What goes wrong between servers, as errors.

use accounts::asking::AskingError;
use federation::{KeyError, Refusal, RequestError, TooMany};
use http::StatusCode;
use rooms::remote::RemoteError;

use crate::error::ApiError;

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy(busy) | Refusal::Keys(KeyError::Busy(busy)) => busy.into(),
            Refusal::TooMany(TooMany { retry_after }) => {
                Self::limit_exceeded(retry_after).with_sentence(refusal.to_string())
            }
            Refusal::NotJson(_) => Self::not_json(refusal.to_string()),
            Refusal::Body(_) => Self::bad_json(refusal.to_string()),
            Refusal::Interrupted => Self::unknown(refusal.to_string()).with_status(StatusCode::SERVICE_UNAVAILABLE),
            _ => Self::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", refusal.to_string()),
        }
    }
}

impl From<RemoteError> for ApiError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::NotFound(_) => Self::not_found(error.to_string()),
            RemoteError::Asking(error) => error.into(),
            RemoteError::Request(error) => error.into(),
        }
    }
}

impl From<AskingError> for ApiError {
    fn from(error: AskingError) -> Self {
        match error {
            AskingError::LimitExceeded(error) => error.into(),
            AskingError::Busy(error) => error.into(),
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
