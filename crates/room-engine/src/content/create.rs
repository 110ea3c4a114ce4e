//! `m.room.create`.

use ruma::{OwnedUserId, UserId};

use crate::{
    CanonicalObject, RoomVersion, UnknownRoomVersion,
    canonical::{elements, string_value},
};

/// What the rules read of [`m.room.create`](https://spec.matrix.org/v1.19/client-server-api/#mroomcreate).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateContent {
    /// Whether there is a `creator`, which versions 1 to 10 require.
    pub has_creator: bool,
    /// The `creator`, when it is a user ID.
    pub creator: Option<OwnedUserId>,
    /// The `additional_creators` of version 12; `None` when they are there but no list of user IDs.
    pub additional_creators: Option<Vec<OwnedUserId>>,
    /// Whether other servers may take part.
    pub federate: bool,
    /// The version of the room; absent means 1.
    pub room_version: Result<RoomVersion, UnknownRoomVersion>,
}

impl CreateContent {
    pub(crate) fn parse(content: &CanonicalObject) -> Self {
        let room_version = match content.value("room_version") {
            None => Ok(RoomVersion::V1),
            Some(value) => string_value(value).ok_or(UnknownRoomVersion).and_then(|text| text.parse()),
        };
        Self {
            has_creator: content.value("creator").is_some(),
            creator: content.string("creator").and_then(|id| UserId::parse(id).ok()),
            additional_creators: match content.value("additional_creators") {
                None => Some(Vec::new()),
                Some(value) => user_ids(value),
            },
            federate: content.value("m.federate") != Some(b"false"),
            room_version,
        }
    }
}

fn user_ids(json: &[u8]) -> Option<Vec<OwnedUserId>> {
    if json.first() != Some(&b'[') {
        return None;
    }
    elements(json).map(|value| UserId::parse(string_value(value)?).ok()).collect()
}
