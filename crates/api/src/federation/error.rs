//! Errors, as other servers are told them.

use std::time::Duration;

use accounts::profiles::ProfileError;
use axum::response::{IntoResponse, Response};
use federation::{KeyError, Refusal, TooMany};
use http::StatusCode;
use replication::hierarchy::HierarchyError;
use rooms::{ErrorKind, RoomError};

use crate::error::ApiError;

/// How long a server waits before it asks again while this one catches up.
const AGAIN: Duration = Duration::from_secs(1);

/// What the handlers of this boundary answer with.
pub(crate) type FederationResult<T> = Result<T, FederationError>;

/// An error as other servers are told it.
#[derive(Debug)]
pub(crate) struct FederationError(pub(crate) ApiError);

/// What everybody is told alike.
impl<E: Into<ApiError>> From<E> for FederationError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for FederationError {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// Who asks could not be established, or asks too much.
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

/// Other than clients, servers are told which rooms are not known here: they choose another server then.
impl From<RoomError> for FederationError {
    fn from(error: RoomError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            RoomError::NoSuchRoom => ApiError::not_found("This server does not know the room"),
            RoomError::NotFound(_) => ApiError::not_found(sentence),
            RoomError::NotInRoom | RoomError::StillInRoom | RoomError::GuestsForbidden => ApiError::forbidden(sentence),
            RoomError::Refused(_) | RoomError::Forbidden(_) | RoomError::Suspended => ApiError::forbidden(sentence),
            RoomError::UnableToAuthoriseJoin => ApiError::unable_to_authorise_join(sentence),
            RoomError::UnableToGrantJoin => ApiError::unable_to_grant_join(sentence),
            RoomError::Event(error) => match error.kind() {
                ErrorKind::NotJson => ApiError::not_json(sentence),
                ErrorKind::BadJson => ApiError::bad_json(sentence),
                ErrorKind::TooLarge => ApiError::too_large(sentence),
            },
            RoomError::Malformed(_) | RoomError::BadAlias(_) | RoomError::InvalidState(_) => {
                ApiError::bad_json(sentence)
            }
            RoomError::Invalid(_)
            | RoomError::AliasInUse(_)
            | RoomError::DuplicateAnnotation
            | RoomError::NoThreadRoot => ApiError::invalid_param(sentence),
            RoomError::UnsupportedVersion(_) => ApiError::unsupported_room_version(sentence),
            RoomError::Contended | RoomError::LostLog => ApiError::unavailable(sentence).with_retry_after(AGAIN),
            // Another server of the room may know more: with this status it is asked.
            RoomError::StateUnknown | RoomError::StillPartial(_) => ApiError::not_found(sentence),
            RoomError::LimitExceeded(error) => error.into(),
            RoomError::Busy(error) => error.into(),
            RoomError::Corrupt { .. } => ApiError::internal("Reading a room", &error),
            RoomError::Storage(error) => error.into(),
        })
    }
}

impl From<ProfileError> for FederationError {
    fn from(error: ProfileError) -> Self {
        Self(match error {
            ProfileError::NoSuchUser | ProfileError::NoSuchField => ApiError::not_found(error.to_string()),
            ProfileError::Storage(error) => error.into(),
            error => ApiError::invalid_param(error.to_string()),
        })
    }
}

impl From<HierarchyError> for FederationError {
    fn from(error: HierarchyError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            HierarchyError::NotFound | HierarchyError::NotAccessible => ApiError::not_found(sentence),
            HierarchyError::Invalid(_) => ApiError::invalid_param(sentence),
            HierarchyError::Asking(error) => error.into(),
            HierarchyError::Room(error) => return error.into(),
        })
    }
}
