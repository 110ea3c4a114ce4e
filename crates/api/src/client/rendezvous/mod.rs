//! `/_matrix/client/unstable/…/rendezvous`: where two clients meet, of which one logs the other in.

pub(super) mod by_etag;
pub(super) mod by_token;

use accounts::rendezvous::RendezvousError;
use http::StatusCode;

use crate::client::error::ClientError;
use crate::error::ApiError;

/// As both proposals say it; what another client has written meanwhile is told by each in its own way.
impl From<RendezvousError> for ClientError {
    fn from(error: RendezvousError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            RendezvousError::NoSession => ApiError::not_found(sentence),
            RendezvousError::Conflict(_) => ApiError::new(StatusCode::CONFLICT, "M_CONCURRENT_WRITE", sentence),
            RendezvousError::TooLarge => ApiError::too_large(sentence),
            RendezvousError::TooMany => {
                ApiError::limit_exceeded(accounts::rendezvous::VALID_FOR).with_sentence(sentence)
            }
            RendezvousError::LimitExceeded(error) => error.into(),
            RendezvousError::Storage(error) => error.into(),
        })
    }
}
