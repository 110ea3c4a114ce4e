//! The contents that the rules read, each parsed once from canonical JSON.
//!
//! Only what a rule looks at is read: a key that no rule of the room's version mentions can have any form.

mod create;
mod member;
mod power_levels;

use crate::{CanonicalObject, RoomVersion, auth::AuthError};

pub use create::CreateContent;
pub(crate) use member::decode_base64;
pub use member::{JoinRule, MalformedValue, MemberContent, Membership, SignedInvite};
pub(crate) use power_levels::LevelProperty;
pub use power_levels::PowerLevelsContent;

/// The parsed content of an event, by its type.
#[derive(Debug)]
pub(crate) enum ParsedContent {
    Member(MemberContent),
    Create(CreateContent),
    PowerLevels(Result<PowerLevelsContent, AuthError>),
    Other,
}

impl ParsedContent {
    pub(crate) fn parse(version: RoomVersion, event_type: &str, content: &CanonicalObject) -> Self {
        match event_type {
            "m.room.member" => Self::Member(MemberContent::parse(content)),
            "m.room.create" => Self::Create(CreateContent::parse(content)),
            "m.room.power_levels" => Self::PowerLevels(PowerLevelsContent::parse(version, content)),
            _ => Self::Other,
        }
    }

    pub(crate) fn member(&self) -> Result<&MemberContent, AuthError> {
        match self {
            Self::Member(content) => Ok(content),
            _ => Err(AuthError::WrongEventType { expected: "m.room.member" }),
        }
    }

    pub(crate) fn create(&self) -> Result<&CreateContent, AuthError> {
        match self {
            Self::Create(content) => Ok(content),
            _ => Err(AuthError::WrongEventType { expected: "m.room.create" }),
        }
    }

    pub(crate) fn power_levels(&self) -> Result<&PowerLevelsContent, AuthError> {
        match self {
            Self::PowerLevels(content) => content.as_ref().map_err(Clone::clone),
            _ => Err(AuthError::WrongEventType { expected: "m.room.power_levels" }),
        }
    }
}
