use std::io;

use accounts::asking::AskingError;
use accounts::rate_limits::LimitExceeded;
use federation::RequestError;
use ruma::OwnedServerName;
use storage::StorageError;
use tasks::limits::Busy;

/// Why media cannot be taken, found, or made smaller. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// More than is taken.
    #[error("The content has more than {most_bytes} bytes, which is the most that this server takes")]
    TooLarge {
        /// The most that is.
        most_bytes: u64,
    },
    /// The upload ended before it was complete.
    #[error("The content ended before it was complete")]
    Incomplete,
    /// The upload took too long.
    #[error("The content took too long to arrive")]
    TooSlow,
    /// The user waits with too many.
    #[error("You have {0} uploads that were announced and not made: make these first")]
    TooManyAnnounced(u32),
    /// No such media.
    #[error("There is no such media")]
    NotFound,
    /// The ID was given to another user.
    #[error("This media ID was not given to you")]
    OfSomebodyElse,
    /// It has content already.
    #[error("This media has content already")]
    AlreadyUploaded,
    /// It has none yet.
    #[error("The content was not uploaded yet: try again later")]
    NotYetUploaded,
    /// No picture, or none that can be read.
    #[error("No thumbnail can be made of this: it is not a JPEG, PNG, GIF or WebP picture, or is damaged")]
    NotAPicture,
    /// Reading the picture would take too much.
    #[error("The picture has more than {most_pixels} pixels: no thumbnail is made of it")]
    PictureTooLarge {
        /// The most that are read.
        most_pixels: u64,
        /// Whether it is another server's.
        is_remote: bool,
    },
    /// Another server has more than is taken.
    #[error("{server} has more than {most_bytes} bytes of it, which is the most that this server takes")]
    RemoteTooLarge {
        /// The other server.
        server: OwnedServerName,
        /// The most that is taken.
        most_bytes: u64,
    },
    /// Another server could not be asked, or says something else.
    #[error(transparent)]
    Remote(#[from] RequestError),
    /// The requester does this too often.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// Too many do this at once.
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
