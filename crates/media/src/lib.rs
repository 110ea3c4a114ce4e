//! The content repository: what users upload, what is fetched of other servers, and smaller pictures of both.
//!
//! Contents are in [files](MediaFiles), what is known of them in the database. A file is complete, and on the disk, before the
//! database tells of it. Contents never change, so what is known of them is remembered.
//!
//! Begin with [`ContentRepository`], which every request for media goes to.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#content-repository>
//!
//! # What is kept in memory, and what bounds it
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | which files have a content, and its thumbnails | `media`, `thumbnails` | their shares of `caches.memory_budget` | never changes but for names, which the log of other nodes tells; a file that is gone is looked for again |

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

pub use self::content::{Content, Part};
pub use self::error::MediaError;
pub use self::fetching::RemoteMedia;
pub use self::files::MediaFiles;
pub use self::id::MediaId;
pub use self::repository::ContentRepository;
pub use self::thumbnail::ThumbnailRequest;
pub use self::uploading::{Announced, Upload};
use accounts::asking::Asker;

/// What the content repository takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaOptions {
    /// The largest content, uploaded here or fetched of others.
    pub most_bytes: u64,
    /// The largest picture of which a thumbnail is made.
    pub most_pixels: u64,
    /// Of the IDs that a user was given before the content, so many wait for it at most.
    pub most_announced: u32,
    /// How long they wait.
    pub announced_for: Duration,
    /// How long contents of other servers are kept; for good if that is not said.
    pub keep_fetched_for: Option<Duration>,
    /// Whether downloads by the old paths, which need no token, are answered.
    pub allow_unauthenticated: bool,
}

/// Who asks for media, and how long they wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience<'a> {
    /// Until something is there, if it was announced and not uploaded yet.
    pub wait: Duration,
    /// On whose behalf another server may be asked; `None` if none may.
    pub asker: Option<Asker<'a>>,
}

/// Media, ready to be sent.
#[derive(Debug)]
pub struct OpenMedia {
    /// The bytes.
    pub content: Content,
    /// A name of exactly these bytes, of letters and digits: no other content ever has it.
    pub version: String,
    /// What it is. If it is an upload as it was made, this is what the uploader said: not to be believed.
    pub content_type: Option<String>,
    /// What they called it: any text.
    pub file_name: Option<String>,
}

impl OpenMedia {
    /// The same with a type that was found by looking at the bytes.
    fn with_type(self, content_type: &str) -> Self {
        Self { content_type: Some(content_type.to_owned()), ..self }
    }
}
