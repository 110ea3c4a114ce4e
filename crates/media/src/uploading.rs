//! Receiving contents.

use std::sync::Arc;
use std::time::Duration;

use accounts::rate_limits::LimitedAction;
use accounts::sessions::Requester;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use homeserver_core::{Timestamp, random_string};
use ruma::ServerName;
use storage::{Filled, MediaContent, MediaKey};
use tracing::Instrument as _;

use super::files::{MediaFiles, PartialFile};
use super::{ContentRepository, MediaError, MediaId};

/// Media IDs are random, so that they cannot be guessed: 143 bits.
const ID_LENGTH: usize = 24;
/// An upload without a new byte for so long fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// An upload that takes longer fails.
const TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest name and the longest type, in characters. Longer names are cut, longer types are not kept.
const MAX_NAME_CHARS: usize = 255;
/// The type of a content without one.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload>
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// An upload.
pub struct Upload<B> {
    /// The type that the uploader claims.
    pub content_type: Option<String>,
    /// The name of the file.
    pub file_name: Option<String>,
    /// The length that the uploader claims, in bytes.
    pub announced_bytes: Option<u64>,
    /// The content in pieces.
    pub body: B,
}

/// A media ID without content.
#[derive(Debug)]
pub struct Announced {
    /// The `mxc://` URI.
    pub content_uri: String,
    /// The time until which the content can be uploaded.
    pub unused_expires_at: Timestamp,
}

impl ContentRepository {
    /// Stores an upload, and returns its `mxc://` URI.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload>
    pub async fn upload<B, E>(self: &Arc<Self>, requester: &Requester, upload: Upload<B>) -> Result<String, MediaError>
    where
        B: Stream<Item = Result<Bytes, E>>,
    {
        self.rate_limits.spend_by_user(LimitedAction::MediaCreate, requester)?.keep();
        let received = self.receive(upload).await?;
        let (this, user_sn) = (self.clone(), requester.user_sn);
        to_the_end(async move {
            let content = received.keep(&this.files).await?;
            let key = this.new_key();
            let (now, file) = (this.clock.now(), content.file.clone());
            let written = this.database.insert_media(key.clone(), Some(user_sn), now, content).await;
            if !matches!(written, Ok(true)) {
                this.remove_unless_known(&key, &file).await;
            }
            // A random ID that exists already belongs to another user. That is practically impossible.
            if written? { Ok(uri(&key)) } else { Err(MediaError::AlreadyUploaded) }
        })
        .await
    }

    /// Creates a media ID whose content is uploaded later.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create>
    ///
    /// # Errors
    /// [`MediaError::LimitExceeded`], [`MediaError::TooManyAnnounced`].
    pub async fn announce(&self, requester: &Requester) -> Result<Announced, MediaError> {
        self.rate_limits.spend_by_user(LimitedAction::MediaCreate, requester)?.keep();
        let options = *self.options.read();
        let (key, now) = (self.new_key(), self.clock.now());
        let (content_uri, unused_expires_at) = (uri(&key), now.plus(options.announced_for));
        let most = options.most_announced;
        let (database, user_sn) = (&self.database, requester.user_sn);
        match database.insert_media_without_content(key, user_sn, now, unused_expires_at, most).await? {
            true => Ok(Announced { content_uri, unused_expires_at }),
            false => Err(MediaError::TooManyAnnounced(most)),
        }
    }

    /// Stores the content of a media ID that was created before.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid>
    pub async fn upload_to<B, E>(
        self: &Arc<Self>,
        requester: &Requester,
        server_name: &ServerName,
        media_id: MediaId,
        upload: Upload<B>,
    ) -> Result<(), MediaError>
    where
        B: Stream<Item = Result<Bytes, E>>,
    {
        if server_name != self.identity.server_name {
            return Err(MediaError::NotFound);
        }
        let key = MediaKey { server_name: server_name.to_string(), media_id: media_id.into_string() };
        let media = self.database.media(&key).await?.ok_or(MediaError::NotFound)?;
        // This is checked before the content is received, which may be large.
        fillable(media.fillable_by(requester.user_sn, self.clock.now()))?;
        let received = self.receive(upload).await?;
        let (this, user_sn) = (self.clone(), requester.user_sn);
        to_the_end(async move {
            let content = received.keep(&this.files).await?;
            let file = content.file.clone();
            let filled = this.database.fill_media(key.clone(), user_sn, this.clock.now(), content).await;
            if !matches!(filled, Ok(Filled::Done)) {
                this.remove_unless_known(&key, &file).await;
            }
            fillable(filled?)?;
            this.arrived(key);
            Ok(())
        })
        .await
    }

    async fn receive<B, E>(&self, upload: Upload<B>) -> Result<Received, MediaError>
    where
        B: Stream<Item = Result<Bytes, E>>,
    {
        let most_bytes = self.options.read().most_bytes;
        if upload.announced_bytes.is_some_and(|bytes| bytes > most_bytes) {
            return Err(MediaError::TooLarge { most_bytes });
        }
        let body = upload.body.map(|piece| piece.map_err(|_| MediaError::Incomplete));
        let file = receive(&self.files, body, most_bytes, || MediaError::TooLarge { most_bytes }).await?;
        Ok(Received { file, content_type: upload.content_type, file_name: upload.file_name })
    }

    /// Removes a file unless the database names it: a transaction that seems to have failed may have been committed. If the
    /// database does not answer, the file stays.
    pub(super) async fn remove_unless_known(&self, key: &MediaKey, file: &str) {
        match self.database.media(key).await {
            Ok(media) => {
                if media.and_then(|media| media.content).is_none_or(|content| content.file != file) {
                    self.files.remove(file).await;
                }
            }
            Err(error) => tracing::warn!(file, %error, "a file of media stays that may be unneeded"),
        }
    }

    fn new_key(&self) -> MediaKey {
        MediaKey { server_name: self.identity.server_name.to_string(), media_id: random_string(ID_LENGTH) }
    }
}

/// A received content. Its file is removed unless it is kept.
pub(super) struct Received {
    pub(super) file: PartialFile,
    pub(super) content_type: Option<String>,
    pub(super) file_name: Option<String>,
}

impl Received {
    /// Keeps the file, with the type and the name as far as they are valid.
    pub(super) async fn keep(self, files: &MediaFiles) -> Result<MediaContent, MediaError> {
        let is_type = |text: &&str| {
            !text.is_empty() && text.len() <= MAX_NAME_CHARS && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        let content_type = self.content_type.as_deref().map(str::trim).filter(is_type).unwrap_or(UNKNOWN_TYPE);
        let name =
            |name: String| name.chars().filter(|character| !character.is_control()).take(MAX_NAME_CHARS).collect();
        let kept = files.keep(self.file).await?;
        Ok(MediaContent {
            file: kept.name,
            size_bytes: kept.size_bytes,
            content_type: Some(content_type.to_owned()),
            file_name: self.file_name.map(name).filter(|name: &String| !name.is_empty()),
        })
    }
}

/// Completes work on a file and its row even if the request is dropped: otherwise files would stay without a row.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, MediaError>> + Send + 'static,
) -> Result<T, MediaError> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The server stops.
            Err(_) => Err(MediaError::Incomplete),
        },
    }
}

/// Writes a content in pieces into a file.
pub(super) async fn receive<B>(
    files: &MediaFiles,
    body: B,
    most_bytes: u64,
    too_large: impl Fn() -> MediaError,
) -> Result<PartialFile, MediaError>
where
    B: Stream<Item = Result<Bytes, MediaError>>,
{
    let writing = async {
        let (mut file, mut body) = (files.begin().await?, std::pin::pin!(body));
        loop {
            let piece = tokio::time::timeout(IDLE_TIMEOUT, body.next()).await.map_err(|_| MediaError::TooSlow)?;
            let Some(piece) = piece else { return Ok(file) };
            let piece = piece?;
            if file.size_bytes() + piece.len() as u64 > most_bytes {
                return Err(too_large());
            }
            file.write(&piece).await?;
        }
    };
    tokio::time::timeout(TIMEOUT, writing).await.map_err(|_| MediaError::TooSlow)?
}

fn fillable(filled: Filled) -> Result<(), MediaError> {
    match filled {
        Filled::Done => Ok(()),
        Filled::NoSuchMedia => Err(MediaError::NotFound),
        Filled::OfSomebodyElse => Err(MediaError::OfOtherUser),
        Filled::Before => Err(MediaError::AlreadyUploaded),
    }
}

fn uri(key: &MediaKey) -> String {
    format!("mxc://{}/{}", key.server_name, key.media_id)
}
