use accounts::asking::AskingError;
use accounts::rate_limits::LimitExceeded;
use federation::{IdentityServerError, RequestError};
use room_engine::EventError;
use rooms::RoomError;
use rooms::remote::RemoteError;
use ruma::OwnedServerName;
use storage::StorageError;

/// Why a user did not get into a room, or out of it. The texts are sentences for the user.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The room refuses, or cannot be read.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// Another server was not asked.
    #[error(transparent)]
    Asking(#[from] AskingError),
    /// Another server refuses, or cannot be reached.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An identity server refuses, or cannot be reached.
    #[error(transparent)]
    IdentityServer(#[from] IdentityServerError),
    /// Another server does not know the alias.
    #[error("{0} knows no such alias.")]
    NoSuchAlias(OwnedServerName),
    /// The servers that could be asked took too long.
    #[error("The servers of the room did not answer in time; try again later.")]
    TooSlow,
}

impl MembershipError {
    /// Whether a server said for certain that the user may not, which says more than that others were not reached.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Request(RequestError::Refused { .. }) | Self::Room(RoomError::Refused(_) | RoomError::Forbidden(_))
        )
    }
}

impl From<RemoteError> for MembershipError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::NotFound(server) => Self::NoSuchAlias(server),
            RemoteError::Asking(error) => Self::Asking(error),
            RemoteError::Request(error) => Self::Request(error),
        }
    }
}

impl From<StorageError> for MembershipError {
    fn from(error: StorageError) -> Self {
        Self::Room(error.into())
    }
}

impl From<EventError> for MembershipError {
    fn from(error: EventError) -> Self {
        Self::Room(error.into())
    }
}

impl From<LimitExceeded> for MembershipError {
    fn from(error: LimitExceeded) -> Self {
        Self::Room(error.into())
    }
}
