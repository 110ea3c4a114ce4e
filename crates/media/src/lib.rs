//! The content repository: uploads, media fetched from other servers, and thumbnails of both.
//!
//! Contents are [files](MediaFiles), and the database has their names, types and sizes. A file is complete and on the disk
//! before the database names it. Contents never change, so these rows are cached.
//!
//! Begin reading with [`ContentRepository`], which serves every request for media. Its methods fail with [`MediaError`].
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#content-repository>
//!
//! # What is kept in memory, and what bounds it
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | the rows of media and thumbnails | `media`, `thumbnails` | their shares of `caches.memory_budget` | only names change, and the log of other nodes reports that; if a file is gone, the row is read again |

mod at_hand;
mod cleaning;
mod content;
mod error;
mod fetching;
mod files;
mod following;
mod id;
mod repository;
mod thumbnail;
mod thumbnailing;
mod uploading;

use std::time::Duration;

pub use self::content::{MediaBytes, Part};
pub use self::error::MediaError;
pub use self::fetching::RemoteMedia;
pub use self::files::MediaFiles;
pub use self::id::MediaId;
pub use self::repository::ContentRepository;
pub use self::thumbnail::ThumbnailRequest;
pub use self::uploading::{Announced, Upload};
use accounts::asking::Asker;

/// The limits of the content repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaOptions {
    /// The largest content, uploaded here or fetched from another server.
    pub most_bytes: u64,
    /// The largest picture that gets a thumbnail.
    pub most_pixels: u64,
    /// A user has at most so many media IDs without content.
    pub most_announced: u32,
    /// A media ID expires after so long without content.
    pub announced_for: Duration,
    /// Contents of other servers are kept for so long; without a limit if `None`.
    pub keep_fetched_for: Option<Duration>,
    /// Whether the old paths, which need no token, serve downloads.
    pub allow_unauthenticated: bool,
}

/// The user behind a download, and how long the download may wait.
#[derive(Clone, Copy, Debug)]
pub struct DownloadOptions<'a> {
    /// The wait for the content of a media ID that has none yet.
    pub wait: Duration,
    /// The user for whom another server is asked; `None` if no other server may be asked.
    pub asker: Option<Asker<'a>>,
}

/// Media whose file is open.
#[derive(Debug)]
pub struct OpenMedia {
    /// The content.
    pub content: MediaBytes,
    /// A unique name of these bytes, of letters and digits.
    pub version: String,
    /// The type. That of an upload is the claim of the uploader, and must not be trusted.
    pub content_type: Option<String>,
    /// The name that the uploader gave it: any text.
    pub file_name: Option<String>,
}

impl OpenMedia {
    /// The same media with a type that was read from the bytes.
    fn with_type(self, content_type: &str) -> Self {
        Self { content_type: Some(content_type.to_owned()), ..self }
    }
}
