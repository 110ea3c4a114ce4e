//! What the log of the homeserver consists of.
//!
//! [`written`] is the form in which entries are written down for other processes.

mod written;

use std::sync::Arc;

use database::{Entry, Readers};
use homeserver_core::{DeviceSn, EventSn, Position, RoomSn, UserSn};

use crate::events::StoredEvent;
use crate::media::MediaKey;
use crate::presence::Presence;
use crate::receipts::Receipt;
use crate::{Membership, StorageError};

/// Something new in the log. Observers are told of the entries of all transactions in the order of their positions.
#[derive(Clone, Debug)]
pub enum LogEntry {
    /// An event was added to a room's timeline.
    Event(Arc<StoredEvent>),
    /// Branches of a room met, and the state has another event, or none, for one type and state key. None of the events that were
    /// added at the same time is that event.
    StateResolved {
        /// Its position in the log.
        position: Position,
        /// The room.
        room_sn: RoomSn,
        /// The user whose membership changed by it, and the new membership.
        membership: Option<(UserSn, Membership)>,
    },
    /// From here on, all of a room's state is known, or no more than a part: see [`RoomStates`](crate::RoomStates).
    StateKnown {
        /// Its position in the log.
        position: Position,
        /// The room.
        room_sn: RoomSn,
        /// Whether all of it is known.
        is_whole: bool,
    },
    /// A user's account data was changed, for one room or (`None`) globally.
    AccountData {
        /// Its position in the log.
        position: Position,
        /// The user.
        user_sn: UserSn,
        /// The room.
        room_sn: Option<RoomSn>,
    },
    /// A user has read a room further.
    Receipt(Arc<Receipt>),
    /// A user began to type in a room, or stopped.
    Typing {
        /// Its position in the log.
        position: Position,
        /// The room.
        room_sn: RoomSn,
        /// The user.
        user_sn: UserSn,
        /// Whether the user types no longer.
        has_ended: bool,
    },
    /// A user's presence changed.
    Presence(Arc<Presence>),
    /// What notifies a user changed: the user's push rules, or whom the user ignores.
    NotificationRules {
        /// Its position in the log.
        position: Position,
        /// The user.
        user_sn: UserSn,
    },
    /// A user's sessions, password or rights were changed. Clients are not shown it.
    Account {
        /// Its position in the log.
        position: Position,
        /// The user.
        user_sn: UserSn,
        /// Whether sessions may have ended by it; otherwise they go on, perhaps with other tokens.
        has_ended: bool,
    },
    /// A user has forgotten a room. Clients are not shown it.
    RoomForgotten {
        /// Its position in the log.
        position: Position,
        /// The room.
        room_sn: RoomSn,
        /// The user.
        user_sn: UserSn,
    },
    /// What a user of this server is to a room that the server is not in has changed.
    RemoteMembership {
        /// Its position in the log.
        position: Position,
        /// The room.
        room_sn: RoomSn,
        /// The user.
        user_sn: UserSn,
        /// The new membership.
        membership: Membership,
    },
    /// An event of a user of another server is to be passed on to the other servers of its room. Clients are not shown it.
    Forward {
        /// Its position in the log.
        position: Position,
        /// The room.
        room_sn: RoomSn,
        /// The event.
        event_sn: EventSn,
    },
    /// What is stored of media was changed or removed. Clients are not shown it.
    Media {
        /// Its position in the log.
        position: Position,
        /// The media.
        media: Arc<[MediaKey]>,
    },
    /// What is kept for devices has changed. Clients are not shown it from here: what they are shown is read.
    Devices {
        /// Where in the log.
        position: Position,
        /// Which devices, and whose they are.
        devices: Arc<[(UserSn, DeviceSn)]>,
        /// What has changed.
        change: DeviceChange,
    },
    /// What others use to encrypt for a user, or to verify the user, has changed.
    DeviceList {
        /// Where in the log.
        position: Position,
        /// Whose.
        user_sn: UserSn,
        /// Who alone sees the change; `None` if all do who share a room with the user.
        seen_by: Option<UserSn>,
    },
}

/// What has changed of that which is kept for devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceChange {
    /// There are new messages for them.
    Messages,
    /// Others have other one-time keys or fallback keys of them.
    OneTimeKeys,
    /// They were deleted.
    Deleted,
}

impl DeviceChange {
    /// The number it is written down as.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Messages => 1,
            Self::OneTimeKeys => 2,
            Self::Deleted => 3,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Messages, Self::OneTimeKeys, Self::Deleted].into_iter().find(|change| change.code() == code)
    }
}

impl LogEntry {
    /// Its position in the log.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Event(event) => event.sn.position(),
            Self::Receipt(receipt) => receipt.position,
            Self::Presence(presence) => presence.position,
            Self::AccountData { position, .. }
            | Self::NotificationRules { position, .. }
            | Self::Typing { position, .. }
            | Self::StateResolved { position, .. }
            | Self::StateKnown { position, .. }
            | Self::Account { position, .. }
            | Self::RoomForgotten { position, .. }
            | Self::RemoteMembership { position, .. }
            | Self::Forward { position, .. }
            | Self::Media { position, .. }
            | Self::Devices { position, .. }
            | Self::DeviceList { position, .. } => *position,
        }
    }

    /// Whether clients or other servers are told of it. Everything else is for what this process keeps in memory.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        !matches!(self, Self::Account { .. } | Self::RoomForgotten { .. } | Self::Media { .. } | Self::Devices { .. })
    }

    /// The room and the user whose membership changed, and the new membership.
    #[must_use]
    pub fn membership_change(&self) -> Option<(RoomSn, UserSn, Membership)> {
        let (room_sn, membership) = match self {
            Self::RemoteMembership { room_sn, user_sn, membership, .. } => (*room_sn, Some((*user_sn, *membership))),
            Self::Event(event) => (event.room_sn, event.membership),
            Self::StateResolved { room_sn, membership, .. } => (*room_sn, *membership),
            Self::AccountData { .. }
            | Self::NotificationRules { .. }
            | Self::Receipt(_)
            | Self::Presence(_)
            | Self::StateKnown { .. }
            | Self::Account { .. }
            | Self::RoomForgotten { .. }
            | Self::Forward { .. }
            | Self::Media { .. }
            | Self::Devices { .. }
            | Self::DeviceList { .. }
            | Self::Typing { .. } => return None,
        };
        membership.map(|(user_sn, membership)| (room_sn, user_sn, membership))
    }

    /// The room in which something happened that its members see.
    #[must_use]
    pub fn room_sn(&self) -> Option<RoomSn> {
        match self {
            Self::Event(event) => Some(event.room_sn),
            Self::StateResolved { room_sn, .. } | Self::StateKnown { room_sn, .. } | Self::Typing { room_sn, .. } => {
                Some(*room_sn)
            }
            Self::Receipt(receipt) => Some(receipt.room_sn),
            // The members of the room are not here.
            Self::RemoteMembership { .. }
            | Self::AccountData { .. }
            | Self::NotificationRules { .. }
            | Self::Presence(_)
            | Self::Account { .. }
            | Self::RoomForgotten { .. }
            | Self::Forward { .. }
            | Self::Media { .. }
            | Self::Devices { .. }
            | Self::DeviceList { .. } => None,
        }
    }
}

impl Entry for LogEntry {
    fn position(&self) -> Position {
        Self::position(self)
    }

    fn encode(entries: &[Self]) -> Result<String, StorageError> {
        written::encode(entries)
    }

    async fn decode_all(readers: &Readers, texts: &[&str]) -> Result<Vec<Vec<Self>>, StorageError> {
        written::decode_all(readers, texts).await
    }
}
