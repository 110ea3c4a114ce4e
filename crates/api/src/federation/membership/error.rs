//! Why others get into no room, as they are told it.

use replication::memberships::{InviteError, MembershipError};
use replication::resident::ResidentError;

use crate::error::ApiError;
use crate::federation::error::FederationError;

impl From<ResidentError> for FederationError {
    fn from(error: ResidentError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            ResidentError::NotInRoom | ResidentError::StillPartial => ApiError::not_found(sentence),
            ResidentError::ServerRefused | ResidentError::OtherServersUser | ResidentError::Refused(_) => {
                ApiError::forbidden(sentence)
            }
            ResidentError::IncompatibleVersion(version) => ApiError::incompatible_room_version(version.as_str()),
            ResidentError::Invalid(_) => ApiError::invalid_param(sentence),
            ResidentError::Malformed(_) => ApiError::bad_json(sentence),
            ResidentError::Room(error) => return error.into(),
        })
    }
}

impl From<MembershipError> for FederationError {
    fn from(error: MembershipError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            MembershipError::Room(error) => return error.into(),
            MembershipError::Asking(error) => error.into(),
            MembershipError::Request(error) => error.into(),
            MembershipError::NoSuchAlias(_) => ApiError::not_found(sentence),
            MembershipError::TooSlow => ApiError::connection_timeout(sentence),
        })
    }
}

impl From<InviteError> for FederationError {
    fn from(error: InviteError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            InviteError::IncompatibleVersion(version) => ApiError::incompatible_room_version(&version),
            InviteError::Invalid(_) => ApiError::invalid_param(sentence),
            InviteError::Refused(_) => ApiError::forbidden(sentence),
            InviteError::Malformed(_) => ApiError::bad_json(sentence),
            InviteError::Room(error) => return error.into(),
        })
    }
}
