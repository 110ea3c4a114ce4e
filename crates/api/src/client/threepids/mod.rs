//! Third-party identifiers of accounts: `/account/3pid…` and `/…/requestToken`.

pub(super) mod add;
pub(super) mod delete;
pub(super) mod identity_server;
pub(super) mod list;
pub(super) mod request_token;

use accounts::threepids::ThreepidError;

use crate::client::error::ClientError;
use crate::error::ApiError;

impl From<ThreepidError> for ClientError {
    fn from(error: ThreepidError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            ThreepidError::MediumNotSupported => ApiError::threepid_medium_not_supported(sentence),
            ThreepidError::InvalidParameter(..) => ApiError::invalid_param(sentence),
            ThreepidError::InUse => ApiError::threepid_in_use(sentence),
            ThreepidError::NotFound => ApiError::threepid_not_found(sentence),
            ThreepidError::TooManyMails(wait) => ApiError::limit_exceeded(wait),
            ThreepidError::TooMany => ApiError::threepid_denied(sentence),
            ThreepidError::NotValidated => ApiError::threepid_auth_failed(sentence),
            ThreepidError::Storage(error) => error.into(),
        })
    }
}
