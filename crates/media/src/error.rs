use std::io;

use accounts::asking::AskingError;
use accounts::rate_limits::LimitExceeded;
use federation::RequestError;
use ruma::OwnedServerName;
use storage::StorageError;
use tasks::limits::Busy;

/// The reason why a request for media failed. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The content is over the limit.
    #[error("The content has more than {most_bytes} bytes, which is the most that this server takes")]
    TooLarge {
        /// The limit.
        most_bytes: u64,
    },
    /// The upload ended before it was complete.
    #[error("The content ended before it was complete")]
    Incomplete,
    /// The upload took too long.
    #[error("The content took too long to arrive")]
    TooSlow,
    /// The user has too many media IDs without content.
    #[error("You have {0} uploads that were announced and not made: make these first")]
    TooManyAnnounced(u32),
    /// There is no such media.
    #[error("There is no such media")]
    NotFound,
    /// The ID was given to another user.
    #[error("This media ID was not given to you")]
    OfOtherUser,
    /// The media has content already.
    #[error("This media has content already")]
    AlreadyUploaded,
    /// The media has no content yet.
    #[error("The content was not uploaded yet: try again later")]
    NotYetUploaded,
    /// The content is no picture, or a damaged one.
    #[error("No thumbnail can be made of this: it is not a JPEG, PNG, GIF or WebP picture, or is damaged")]
    NotAPicture,
    /// The picture is too large for a thumbnail.
    #[error("The picture has more than {most_pixels} pixels: no thumbnail is made of it")]
    PictureTooLarge {
        /// The limit.
        most_pixels: u64,
        /// Whether the picture is from another server.
        is_remote: bool,
    },
    /// The content of another server is over the limit.
    #[error("{server} has more than {most_bytes} bytes of it, which is the most that this server takes")]
    RemoteTooLarge {
        /// The other server.
        server: OwnedServerName,
        /// The limit.
        most_bytes: u64,
    },
    /// The request to another server failed, or its answer was bad.
    #[error(transparent)]
    Remote(#[from] RequestError),
    /// The user sent too many requests of this kind.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The server has too many requests of this kind.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// A file cannot be read or written.
    #[error("A file of media cannot be read or written: {0}")]
    File(#[from] io::Error),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<AskingError> for MediaError {
    fn from(error: AskingError) -> Self {
        match error {
            AskingError::LimitExceeded(error) => error.into(),
            AskingError::Busy(error) => error.into(),
        }
    }
}
