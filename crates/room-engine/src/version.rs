//! The room versions and their rule tables.

use std::{fmt, str::FromStr};

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

use crate::{MAX_CANONICAL_INTEGER, Numbers};

/// A [room version](https://spec.matrix.org/v1.19/rooms/) that this server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants are the versions of the specification")]
pub enum RoomVersion {
    V1,
    V2,
    V3,
    V4,
    V5,
    V6,
    V7,
    V8,
    V9,
    V10,
    V11,
    V12,
}

impl RoomVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 12] = [
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
        Self::V7,
        Self::V8,
        Self::V9,
        Self::V10,
        Self::V11,
        Self::V12,
    ];

    /// The identifier as in `room_version` of `m.room.create`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V3 => "3",
            Self::V4 => "4",
            Self::V5 => "5",
            Self::V6 => "6",
            Self::V7 => "7",
            Self::V8 => "8",
            Self::V9 => "9",
            Self::V10 => "10",
            Self::V11 => "11",
            Self::V12 => "12",
        }
    }

    /// The rules that apply in rooms of this version.
    pub const fn rules(self) -> &'static RoomVersionRules {
        match self {
            Self::V1 => &RoomVersionRules::V1,
            Self::V2 => &RoomVersionRules::V2,
            Self::V3 => &RoomVersionRules::V3,
            Self::V4 => &RoomVersionRules::V4,
            Self::V5 => &RoomVersionRules::V5,
            Self::V6 => &RoomVersionRules::V6,
            Self::V7 => &RoomVersionRules::V7,
            Self::V8 => &RoomVersionRules::V8,
            Self::V9 => &RoomVersionRules::V9,
            Self::V10 => &RoomVersionRules::V10,
            Self::V11 => &RoomVersionRules::V11,
            Self::V12 => &RoomVersionRules::V12,
        }
    }

    /// Which numbers events may hold: strict since
    /// [version 6](https://spec.matrix.org/v1.19/rooms/v6/#canonical-json).
    pub const fn numbers(self) -> Numbers {
        if self.rules().authorization.strict_canonical_json { Numbers::Strict } else { Numbers::Lenient }
    }

    /// The greatest `depth` of an event, which all events at the limit have. Numbers are smaller since
    /// [version 6](https://spec.matrix.org/v1.19/rooms/v6/#event-format).
    pub const fn max_depth(self) -> i64 {
        match self.numbers() {
            Numbers::Strict => MAX_CANONICAL_INTEGER,
            Numbers::Lenient => i64::MAX,
        }
    }

    /// Whether the PDU carries its own `event_id`, as in versions 1 and 2.
    pub const fn event_id_in_pdu(self) -> bool {
        self.rules().event_format.require_event_id
    }

    /// Whether the room ID is the hash of the create event, as since version 12.
    pub const fn room_id_is_create_hash(self) -> bool {
        self.rules().authorization.room_create_event_id_as_room_id
    }

    /// Whether `redacts` lies in the content, as since version 11.
    pub const fn redacts_in_content(self) -> bool {
        self.rules().redaction.content_field_redacts
    }
}

impl fmt::Display for RoomVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no room version that this server knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The room version is unknown; the known ones are 1 to 12.")]
pub struct UnknownRoomVersion;

impl FromStr for RoomVersion {
    type Err = UnknownRoomVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or(UnknownRoomVersion)
    }
}

impl TryFrom<&RoomVersionId> for RoomVersion {
    type Error = UnknownRoomVersion;

    fn try_from(id: &RoomVersionId) -> Result<Self, Self::Error> {
        id.as_str().parse()
    }
}

impl From<RoomVersion> for RoomVersionId {
    fn from(version: RoomVersion) -> Self {
        match version {
            RoomVersion::V1 => Self::V1,
            RoomVersion::V2 => Self::V2,
            RoomVersion::V3 => Self::V3,
            RoomVersion::V4 => Self::V4,
            RoomVersion::V5 => Self::V5,
            RoomVersion::V6 => Self::V6,
            RoomVersion::V7 => Self::V7,
            RoomVersion::V8 => Self::V8,
            RoomVersion::V9 => Self::V9,
            RoomVersion::V10 => Self::V10,
            RoomVersion::V11 => Self::V11,
            RoomVersion::V12 => Self::V12,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_reads_back_from_its_identifier() {
        for version in RoomVersion::ALL {
            assert_eq!(version.as_str().parse(), Ok(version));
            assert_eq!(RoomVersion::try_from(&RoomVersionId::from(version)), Ok(version));
        }
        assert_eq!("13".parse::<RoomVersion>(), Err(UnknownRoomVersion));
        assert_eq!("".parse::<RoomVersion>(), Err(UnknownRoomVersion));
    }
}
