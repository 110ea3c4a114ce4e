//! Why an event that two servers sign is not taken.

use room_engine::receipt::Dropped;
use rooms::RoomError;
use storage::StorageError;

/// Why another server's request is refused. The texts are sentences for its users.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// This server is not in the room.
    #[error("This server is not in the room, or it does not exist.")]
    NotInRoom,
    /// This server does not know all members of the room, and so not who may get into it.
    #[error("This server has joined the room a short while ago and does not know all of its members yet.")]
    StillPartial,
    /// The access control list of the room keeps the other server out.
    #[error("The room does not let your server take part.")]
    ServerRefused,
    /// The user is not one of the other server.
    #[error("The user is not one of your server.")]
    OtherServersUser,
    /// One of the two servers does not know the version of the room.
    #[error("The room has version {0}, which only one of the two servers supports.")]
    IncompatibleVersion(String),
    /// The event is not what the request says.
    #[error("{0}")]
    Invalid(String),
    /// The rules of the room refuse the event, or the user cannot be invited.
    #[error("{0}")]
    Refused(String),
    /// The event does not have the form of the room's version.
    #[error("{0}")]
    Malformed(String),
    /// The room refuses, or cannot be read.
    #[error(transparent)]
    Room(#[from] RoomError),
}

impl From<Dropped> for HandshakeError {
    fn from(dropped: Dropped) -> Self {
        match dropped {
            Dropped::Malformed(error) => Self::Malformed(error.to_string()),
            dropped => Self::Invalid(dropped.to_string()),
        }
    }
}

impl From<StorageError> for HandshakeError {
    fn from(error: StorageError) -> Self {
        Self::Room(error.into())
    }
}
