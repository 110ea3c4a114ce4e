//! What went wrong in a room, as a Matrix error.

use std::time::Duration;

use rooms::remote::RemoteError;
use rooms::{AuthError, ErrorKind, RoomError};

use crate::client::error::ClientError;
use crate::error::ApiError;

/// How long a client waits before it tries again in a room that others change all the time.
const CONTENDED_WAIT: Duration = Duration::from_secs(1);

/// How long a client waits before it tries again where a room's members are still being fetched.
const PARTIAL_WAIT: Duration = Duration::from_secs(10);

impl From<RoomError> for ClientError {
    fn from(error: RoomError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            RoomError::NoSuchRoom | RoomError::NotInRoom | RoomError::Forbidden(_) => ApiError::forbidden(sentence),
            // Nobody could send such an event, whatever their power.
            RoomError::Refused(AuthError::MalformedPowerLevels { .. } | AuthError::LevelOfCreator { .. })
            | RoomError::Malformed(_) => ApiError::bad_json(sentence),
            RoomError::StillInRoom => ApiError::unknown(sentence),
            RoomError::GuestsForbidden => ApiError::guest_access_forbidden(sentence),
            RoomError::Refused(_) => ApiError::forbidden(sentence),
            RoomError::Event(error) => match error.kind() {
                ErrorKind::NotJson => ApiError::not_json(sentence),
                ErrorKind::BadJson => ApiError::bad_json(sentence),
                ErrorKind::TooLarge => ApiError::too_large(sentence),
            },
            RoomError::Invalid(_) => ApiError::invalid_param(sentence),
            RoomError::BadAlias(_) => ApiError::new(http::StatusCode::BAD_REQUEST, "M_BAD_ALIAS", sentence),
            RoomError::InvalidState(_) => ApiError::invalid_room_state(sentence),
            RoomError::NotFound(_) => ApiError::not_found(sentence),
            RoomError::UnsupportedVersion(_) => ApiError::unsupported_room_version(sentence),
            RoomError::AliasInUse(_) => ApiError::room_in_use(sentence),
            RoomError::Contended => ApiError::unavailable(sentence).with_retry_after(CONTENDED_WAIT),
            RoomError::LostLog => ApiError::unavailable(sentence).with_retry_after(PARTIAL_WAIT),
            RoomError::StateUnknown => ApiError::unavailable(sentence).with_retry_after(PARTIAL_WAIT),
            RoomError::LimitExceeded(error) => error.into(),
            RoomError::Busy(error) => error.into(),
            RoomError::StillPartial(_) => ApiError::unavailable(sentence).with_retry_after(PARTIAL_WAIT),
            RoomError::Corrupt { .. } => ApiError::internal("Reading a room", &error),
            RoomError::Storage(error) => error.into(),
        })
    }
}

impl From<RemoteError> for ClientError {
    fn from(error: RemoteError) -> Self {
        Self(match error {
            RemoteError::NotFound(_) => ApiError::not_found(error.to_string()),
            RemoteError::Asking(error) => error.into(),
            RemoteError::Request(error) => error.into(),
        })
    }
}
