//! What went wrong in a room, as a Matrix error.

use std::time::Duration;

use federation::{IdentityServerError, RequestError};
use http::StatusCode;
use replication::hierarchy::HierarchyError;
use replication::memberships::MembershipError;
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
            RoomError::NoSuchRoom
            | RoomError::NotInRoom
            | RoomError::Forbidden(_)
            | RoomError::UnableToAuthoriseJoin
            | RoomError::UnableToGrantJoin => ApiError::forbidden(sentence),
            // Nobody could send such an event, whatever their power.
            RoomError::Refused(AuthError::MalformedPowerLevels { .. } | AuthError::LevelOfCreator { .. })
            | RoomError::Malformed(_) => ApiError::bad_json(sentence),
            RoomError::StillInRoom | RoomError::NoThreadRoot => ApiError::unknown(sentence),
            RoomError::Suspended => ApiError::user_suspended(sentence),
            RoomError::DuplicateAnnotation => {
                ApiError::new(StatusCode::BAD_REQUEST, "M_DUPLICATE_ANNOTATION", sentence)
            }
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

/// That the client has to agree to terms first, or that its token is wrong, is told as the identity server says it.
impl From<IdentityServerError> for ClientError {
    fn from(error: IdentityServerError) -> Self {
        let sentence = error.to_string();
        let IdentityServerError::Refused { errcode, .. } = &error else {
            return Self(ApiError::unknown(sentence).with_status(StatusCode::BAD_GATEWAY));
        };
        Self(match errcode.as_deref().unwrap_or_default() {
            "M_TERMS_NOT_SIGNED" => ApiError::new(StatusCode::FORBIDDEN, "M_TERMS_NOT_SIGNED", sentence),
            "M_UNAUTHORIZED" | "M_FORBIDDEN" => ApiError::forbidden(sentence),
            _ => ApiError::unknown(sentence).with_status(StatusCode::BAD_GATEWAY),
        })
    }
}

impl From<HierarchyError> for ClientError {
    fn from(error: HierarchyError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            HierarchyError::NotFound => ApiError::not_found(sentence),
            HierarchyError::NotAccessible => ApiError::forbidden(sentence),
            HierarchyError::Invalid(_) => ApiError::invalid_param(sentence),
            HierarchyError::Asking(error) => error.into(),
            HierarchyError::Room(error) => return error.into(),
        })
    }
}

/// What another server refuses is told as it says it, as far as clients know the code.
impl From<MembershipError> for ClientError {
    fn from(error: MembershipError) -> Self {
        let sentence = error.to_string();
        let error = match error {
            MembershipError::Room(error) => return error.into(),
            MembershipError::Asking(error) => return error.into(),
            MembershipError::NoSuchAlias(_) => return Self(ApiError::not_found(sentence)),
            MembershipError::TooSlow => return Self(ApiError::connection_timeout(sentence)),
            MembershipError::IdentityServer(error) => return error.into(),
            MembershipError::Request(error) => error,
        };
        let RequestError::Refused { status, errcode, .. } = &error else { return error.into() };
        Self(match (*status, errcode.as_deref().unwrap_or_default()) {
            (_, "M_UNABLE_TO_AUTHORISE_JOIN") => ApiError::unable_to_authorise_join(sentence),
            (_, "M_UNABLE_TO_GRANT_JOIN") => ApiError::unable_to_grant_join(sentence),
            (_, "M_INCOMPATIBLE_ROOM_VERSION") => {
                ApiError::new(StatusCode::BAD_REQUEST, "M_INCOMPATIBLE_ROOM_VERSION", sentence)
            }
            (StatusCode::FORBIDDEN, _) => ApiError::forbidden(sentence),
            (StatusCode::NOT_FOUND, _) => ApiError::not_found(sentence),
            (StatusCode::TOO_MANY_REQUESTS, _) => ApiError::unavailable(sentence),
            _ => ApiError::unknown(sentence).with_status(StatusCode::BAD_GATEWAY),
        })
    }
}
