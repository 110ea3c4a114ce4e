//! Third-party identifiers of accounts: `/account/3pid…` and `/…/requestToken`.

pub(super) mod add;
pub(super) mod delete;
pub(super) mod identity_server;
pub(super) mod list;
pub(super) mod request_token;

use accounts::threepids::ThreepidError;

use crate::error::ApiError;

impl From<ThreepidError> for ApiError {
    fn from(error: ThreepidError) -> Self {
        let sentence = error.to_string();
        match error {
            ThreepidError::MediumNotSupported => Self::threepid_medium_not_supported(sentence),
            ThreepidError::InvalidParameter(..) => Self::invalid_param(sentence),
            ThreepidError::InUse => Self::threepid_in_use(sentence),
            ThreepidError::NotFound => Self::threepid_not_found(sentence),
            ThreepidError::TooManyMails(wait) => Self::limit_exceeded(wait),
            ThreepidError::TooMany => Self::threepid_denied(sentence),
            ThreepidError::NotValidated => Self::threepid_auth_failed(sentence),
            ThreepidError::Storage(error) => error.into(),
        }
    }
}
