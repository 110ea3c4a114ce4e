//! What went wrong in a room, as a Matrix error.

use std::time::Duration;

use rooms::{AuthError, ErrorKind, RoomError};

use crate::error::ApiError;

/// How long a client waits before it tries again in a room that others change all the time.
const CONTENDED_WAIT: Duration = Duration::from_secs(1);

/// How long a client waits before it tries again where a room's members are still being fetched.
const PARTIAL_WAIT: Duration = Duration::from_secs(10);

impl From<RoomError> for ApiError {
    fn from(error: RoomError) -> Self {
        let sentence = error.to_string();
        match error {
            RoomError::NoSuchRoom
            | RoomError::NotInRoom
            | RoomError::Forbidden(_)
            | RoomError::UnableToAuthoriseJoin
            | RoomError::UnableToGrantJoin => Self::forbidden(sentence),
            // Nobody could send such an event, whatever their power.
            RoomError::Refused(AuthError::MalformedPowerLevels { .. } | AuthError::LevelOfCreator { .. })
            | RoomError::Malformed(_) => Self::bad_json(sentence),
            RoomError::StillInRoom => Self::unknown(sentence),
            RoomError::GuestsForbidden => Self::guest_access_forbidden(sentence),
            RoomError::Refused(_) => Self::forbidden(sentence),
            RoomError::Event(error) => match error.kind() {
                ErrorKind::NotJson => Self::not_json(sentence),
                ErrorKind::BadJson => Self::bad_json(sentence),
                ErrorKind::TooLarge => Self::too_large(sentence),
            },
            RoomError::Invalid(_) => Self::invalid_param(sentence),
            RoomError::BadAlias(_) => Self::new(http::StatusCode::BAD_REQUEST, "M_BAD_ALIAS", sentence),
            RoomError::InvalidState(_) => Self::invalid_room_state(sentence),
            RoomError::NotFound(_) => Self::not_found(sentence),
            RoomError::UnsupportedVersion(_) => Self::unsupported_room_version(sentence),
            RoomError::AliasInUse(_) => Self::room_in_use(sentence),
            RoomError::Contended => Self::unavailable(sentence).with_retry_after(CONTENDED_WAIT),
            RoomError::LostLog => Self::unavailable(sentence).with_retry_after(PARTIAL_WAIT),
            RoomError::StateUnknown => Self::unavailable(sentence).with_retry_after(PARTIAL_WAIT),
            RoomError::LimitExceeded(error) => error.into(),
            RoomError::Busy(error) => error.into(),
            RoomError::StillPartial(_) => Self::unavailable(sentence).with_retry_after(PARTIAL_WAIT),
            RoomError::Corrupt { .. } => Self::internal("Reading a room", &error),
            RoomError::Storage(error) => error.into(),
        }
    }
}
