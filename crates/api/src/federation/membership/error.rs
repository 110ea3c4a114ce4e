//! Why others get into no room, as they are told it.

use replication::HandshakeError;
use replication::memberships::MembershipError;

use crate::error::ApiError;
use crate::federation::error::FederationError;

impl From<HandshakeError> for FederationError {
    fn from(error: HandshakeError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            HandshakeError::NotInRoom | HandshakeError::StillPartial => ApiError::not_found(sentence),
            HandshakeError::ServerRefused | HandshakeError::OtherServersUser | HandshakeError::Refused(_) => {
                ApiError::forbidden(sentence)
            }
            HandshakeError::IncompatibleVersion(version) => ApiError::incompatible_room_version(&version),
            HandshakeError::Invalid(_) => ApiError::invalid_param(sentence),
            HandshakeError::Malformed(_) => ApiError::bad_json(sentence),
            HandshakeError::Room(error) => return error.into(),
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
            MembershipError::IdentityServer(_) => ApiError::unknown(sentence),
            MembershipError::NoSuchAlias(_) => ApiError::not_found(sentence),
            MembershipError::TooSlow => ApiError::connection_timeout(sentence),
        })
    }
}
