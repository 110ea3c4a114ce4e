use std::io;
use std::time::Duration;

use http::StatusCode;
use media::MediaError;

use crate::error::ApiError;

/// When a client may announce another content, if it uploads none of those it has announced.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(60);

impl From<MediaError> for ApiError {
    fn from(error: MediaError) -> Self {
        let sentence = error.to_string();
        match error {
            MediaError::TooLarge { .. } | MediaError::PictureTooLarge { is_remote: false, .. } => {
                Self::too_large(sentence)
            }
            MediaError::RemoteTooLarge { .. } | MediaError::PictureTooLarge { is_remote: true, .. } => {
                Self::too_large(sentence).with_status(StatusCode::BAD_GATEWAY)
            }
            MediaError::Incomplete | MediaError::NotAPicture => Self::unknown(sentence),
            MediaError::TooSlow => Self::unknown(sentence).with_status(StatusCode::REQUEST_TIMEOUT),
            MediaError::TooManyAnnounced(_) => Self::limit_exceeded(ANNOUNCE_AGAIN).with_sentence(sentence),
            MediaError::NotFound => Self::not_found(sentence),
            MediaError::OfOtherUser => Self::forbidden(sentence),
            MediaError::AlreadyUploaded => Self::new(StatusCode::CONFLICT, "M_CANNOT_OVERWRITE_MEDIA", sentence),
            MediaError::NotYetUploaded => Self::new(StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED", sentence),
            MediaError::Remote(error) => error.into(),
            MediaError::LimitExceeded(error) => error.into(),
            MediaError::Busy(error) => error.into(),
            MediaError::File(error) if is_full(&error) => {
                tracing::error!(%error, "media cannot be stored");
                Self::unavailable("The server has no room for this at the moment: try again later")
            }
            MediaError::File(error) => Self::internal("Reading or writing a file of media", &error),
            MediaError::Storage(error) => error.into(),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
