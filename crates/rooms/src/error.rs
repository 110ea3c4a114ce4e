//! Why something could not be done in a room.

use accounts::rate_limits::{Failure, LimitExceeded};
use room_engine::auth::AuthError;
use room_engine::{EventError, UnknownRoomVersion};
use storage::{StillPartial, StorageError};
use tasks::limits::Busy;
use thiserror::Error;

/// Why something could not be done in a room. The texts are sentences for the client.
#[derive(Debug, Error)]
pub enum RoomError {
    /// The room is not known here. Clients cannot tell it from a room that they are not in.
    #[error("You are not in this room, or it does not exist.")]
    NoSuchRoom,
    /// The user is not, or was never, in the room.
    #[error("You are not in this room.")]
    NotInRoom,
    /// A room that the user is still in cannot be forgotten.
    #[error("You are still in this room, or invited to it: leave it before you forget it.")]
    StillInRoom,
    /// The room does not let guests in.
    #[error("This room does not let guests in: register an account.")]
    GuestsForbidden,
    /// A rule of the room refuses the event.
    #[error("{0}")]
    Refused(#[from] AuthError),
    /// Something that the rules of the room allow, but this server does not.
    #[error("{0}")]
    Forbidden(String),
    /// The event is malformed or over a limit.
    #[error("{0}")]
    Event(#[from] EventError),
    /// Something about the request is not possible as it is.
    #[error("{0}")]
    Invalid(String),
    /// The content is JSON, but not what events of this type consist of.
    #[error("{0}")]
    Malformed(String),
    /// An alias that was to be made known does not point to the room.
    #[error("{0}")]
    BadAlias(String),
    /// The state that a new room was asked to have is not allowed by its own rules.
    #[error("{0}")]
    InvalidState(String),
    /// The thing asked for does not exist, or may not be seen.
    #[error("{0}")]
    NotFound(String),
    /// The room version is not supported.
    #[error("{0}")]
    UnsupportedVersion(#[from] UnknownRoomVersion),
    /// The alias is taken.
    #[error("The alias {0} is already in use.")]
    AliasInUse(String),
    /// The room changed again and again while the event was being made.
    #[error("The room is changing too quickly; try again.")]
    Contended,
    /// The room is older than stored states, which are still being worked out.
    #[error("The server is still working out the state of this room; try again later.")]
    StateUnknown,
    /// What this server keeps in memory may be out of date.
    #[error("This server has lost track of what other servers on its database write; try again in a while.")]
    LostLog,
    /// Somebody does this too often.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The server has too much of this to do.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// It needs the whole state of the room, of which only a part is known.
    #[error(transparent)]
    StillPartial(#[from] StillPartial),
    /// A stored event cannot be read.
    #[error("event {event_id} of room {room_sn} cannot be read: {reason}")]
    Corrupt {
        /// The room.
        room_sn: homeserver_core::RoomSn,
        /// The event.
        event_id: Box<str>,
        /// What is wrong with it.
        reason: String,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl RoomError {
    /// Whether it is not the room that refuses, so that trying again later may succeed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Contended | Self::StateUnknown | Self::LostLog | Self::StillPartial(_) | Self::Storage(_))
    }
}

impl Failure for RoomError {
    fn is_refused_write(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_refused_write())
    }
}
