//! The errors of this crate.

use accounts::rate_limits::{Failure, LimitExceeded};
use room_engine::auth::AuthError;
use room_engine::{EventError, UnknownRoomVersion};
use storage::{StillPartial, StorageError};
use tasks::limits::Busy;
use thiserror::Error;

/// The reason why a request failed. The texts are sentences for the client.
#[derive(Debug, Error)]
pub enum RoomError {
    /// The room is not known here. Its sentence is like that of [`RoomError::NotInRoom`], so that clients cannot tell which
    /// rooms exist.
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
    /// The rules of the room would allow it, but this server does not.
    #[error("{0}")]
    Forbidden(String),
    /// This server does not know the rooms whose members may join, so another one must say whether the user may.
    #[error("This server cannot tell whether you may join the room by another room.")]
    UnableToAuthoriseJoin,
    /// The user may join by another room, but no member on this server can vouch for it.
    #[error("You could join this room, but no member of it on this server may invite you.")]
    UnableToGrantJoin,
    /// The event is malformed or over a limit.
    #[error("{0}")]
    Event(#[from] EventError),
    /// The account is suspended.
    #[error("You cannot do this while your account is suspended.")]
    Suspended,
    /// The user has annotated the event with the same already.
    #[error("You have sent this reaction to this event already.")]
    DuplicateAnnotation,
    /// An event that relates to another one cannot be the root of a thread.
    #[error(
        "No thread can begin with this event, because it relates to another one: send to the thread that it is in."
    )]
    NoThreadRoot,
    /// The request has an invalid value.
    #[error("{0}")]
    Invalid(String),
    /// The content is JSON, but not of the form that events of this type have.
    #[error("{0}")]
    Malformed(String),
    /// An alias in `m.room.canonical_alias` does not point to the room.
    #[error("{0}")]
    BadAlias(String),
    /// The rules of a new room do not allow its requested state.
    #[error("{0}")]
    InvalidState(String),
    /// The room, event or alias does not exist, or the user may not see it.
    #[error("{0}")]
    NotFound(String),
    /// The room version is not supported.
    #[error("{0}")]
    UnsupportedVersion(#[from] UnknownRoomVersion),
    /// The alias is taken.
    #[error("The alias {0} is already in use.")]
    AliasInUse(String),
    /// Other nodes changed the room in every attempt to build the event.
    #[error("The room is changing too quickly; try again.")]
    Contended,
    /// The room is older than stored states, which are still being worked out.
    #[error("The server is still working out the state of this room; try again later.")]
    StateUnknown,
    /// The memory of this server may be out of date.
    #[error("This server has lost track of what other servers on its database write; try again in a while.")]
    LostLog,
    /// The user sent too many requests of this kind.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The server has too many requests of this kind.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The request needs the full state of a room whose state is partially known.
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
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Contended | Self::StateUnknown | Self::LostLog | Self::StillPartial(_) | Self::Storage(_))
    }
}

impl Failure for RoomError {
    fn is_refused_write(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_refused_write())
    }
}
