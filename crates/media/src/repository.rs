use std::io;
use std::sync::Arc;
use std::time::Duration;

use accounts::asking::Asker;
use accounts::rate_limits::{Key, RateLimits};
use homeserver_core::{Cache, Clock, Identity, Live};
use ruma::ServerName;
use storage::{Database, MediaContent, MediaKey};
use tasks::limits::{Limit, Shares};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::thumbnailing::{Thumbnail, ThumbnailOf};
use super::uploading::to_the_end;
use super::{DownloadOptions, MediaError, MediaFiles, MediaId, MediaOptions, OpenMedia, RemoteMedia};

/// The channel holds so many arrivals; a waiting request that missed some looks at the database.
const ARRIVALS: usize = 64;
/// A waiting request looks at the database so often: the content may have been uploaded to another node.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Media of this server and of other servers.
pub struct ContentRepository {
    pub(super) database: Database,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) identity: Arc<Identity>,
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) files: MediaFiles,
    pub(super) options: Live<MediaOptions>,
    remote: RemoteMedia,
    pub(super) thumbnails: Arc<Limit>,
    pub(super) thumbnail_shares: Shares<Key>,
    pub(super) contents: Cache<MediaKey, Arc<MediaContent>>,
    pub(super) pictures: Cache<ThumbnailOf, Arc<Thumbnail>>,
    arrivals: broadcast::Sender<MediaKey>,
    stopping: CancellationToken,
}

impl ContentRepository {
    /// Media with contents in `files`; `remote` fetches those of other servers. `thumbnails` limits how many thumbnails are
    /// made at once, and a user gets a share of it. When `stopping` is cancelled, waiting requests end without content.
    #[expect(clippy::too_many_arguments, reason = "these are the parts that it uses")]
    #[must_use]
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        identity: Arc<Identity>,
        rate_limits: Arc<RateLimits>,
        files: MediaFiles,
        remote: RemoteMedia,
        thumbnails: Arc<Limit>,
        options: MediaOptions,
        stopping: CancellationToken,
    ) -> Self {
        let contents = Cache::new(database.memory(), "media");
        let pictures = Cache::new(database.memory(), "thumbnails");
        let thumbnail_shares = Shares::new(thumbnails.clone());
        let (options, arrivals) = (Live::new(options), broadcast::Sender::new(ARRIVALS));
        Self {
            database,
            clock,
            identity,
            rate_limits,
            files,
            options,
            remote,
            thumbnails,
            thumbnail_shares,
            contents,
            pictures,
            arrivals,
            stopping,
        }
    }

    /// Replaces the limits.
    pub fn reconfigure(&self, options: MediaOptions) {
        self.options.replace(options);
    }

    /// The largest content that can be uploaded.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        self.options.read().most_bytes
    }

    /// Whether the old paths, which need no token, serve downloads.
    #[must_use]
    pub fn allows_unauthenticated(&self) -> bool {
        self.options.read().allow_unauthenticated
    }

    /// Media, once it has content.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid>
    pub async fn download(
        self: &Arc<Self>,
        server_name: &ServerName,
        media_id: MediaId,
        options: DownloadOptions<'_>,
    ) -> Result<OpenMedia, MediaError> {
        let key = MediaKey { server_name: server_name.to_string(), media_id: media_id.into_string() };
        Ok(self.opened(&key, server_name, options).await?.1)
    }

    /// The row and the open file of media, once it has content.
    pub(super) async fn opened(
        self: &Arc<Self>,
        key: &MediaKey,
        server_name: &ServerName,
        options: DownloadOptions<'_>,
    ) -> Result<(Arc<MediaContent>, OpenMedia), MediaError> {
        let content = self.content(key, server_name, options).await?;
        match self.open(key, &content).await {
            Err(MediaError::NotFound) => {}
            opened => return Ok((content, opened?)),
        }
        // Another node may have removed the cached content, so it is looked up again.
        let found = self.content(key, server_name, options).await?;
        if found.file == content.file {
            return Err(MediaError::NotFound);
        }
        let opened = self.open(key, &found).await?;
        Ok((found, opened))
    }

    /// The row of media, once it has content.
    pub(super) async fn content(
        self: &Arc<Self>,
        key: &MediaKey,
        server_name: &ServerName,
        options: DownloadOptions<'_>,
    ) -> Result<Arc<MediaContent>, MediaError> {
        if let Some(content) = self.contents.get(key) {
            return Ok(content);
        }
        if server_name == self.identity.server_name {
            let content = Arc::new(self.awaited(key, options.wait).await?);
            self.contents.insert(key.clone(), content.clone());
            return Ok(content);
        }
        let load = async {
            if let Some(content) = self.database.media(key).await?.and_then(|media| media.content) {
                return Ok(Arc::new(content));
            }
            let Some(asker) = options.asker else { return Err(MediaError::NotFound) };
            // Boxed, because fetching is rare and its future is large.
            Box::pin(self.fetch(key, server_name, asker, options.wait)).await.map(Arc::new)
        };
        self.contents.load(key, load).await
    }

    /// Media of this server, once it has content.
    async fn awaited(&self, key: &MediaKey, wait: Duration) -> Result<MediaContent, MediaError> {
        let deadline = Instant::now() + wait;
        let mut arrivals = self.arrivals.subscribe();
        loop {
            let media = self.database.media(key).await?.ok_or(MediaError::NotFound)?;
            if let Some(content) = media.content {
                return Ok(content);
            }
            if media.expires_at.is_some_and(|expires_at| expires_at <= self.clock.now()) {
                return Err(MediaError::NotFound);
            }
            let arrival = async { while matches!(arrivals.recv().await, Ok(arrived) if arrived != *key) {} };
            let look_at = deadline.min(Instant::now() + LOOK_EVERY);
            let _ = self.stopping.run_until_cancelled(tokio::time::timeout_at(look_at, arrival)).await;
            if Instant::now() >= deadline || self.stopping.is_cancelled() {
                // The content may have come at the last moment.
                let media = self.database.media(key).await?.ok_or(MediaError::NotFound)?;
                return media.content.ok_or(MediaError::NotYetUploaded);
            }
        }
    }

    async fn fetch(
        self: &Arc<Self>,
        key: &MediaKey,
        server_name: &ServerName,
        asker: Asker<'_>,
        wait: Duration,
    ) -> Result<MediaContent, MediaError> {
        let most_bytes = self.options.read().most_bytes;
        let received = self.remote.fetch(&self.files, server_name, &key.media_id, (asker, wait), most_bytes).await?;
        let (this, key) = (self.clone(), key.clone());
        to_the_end(async move {
            let content = received.keep(&this.files).await?;
            let inserted = this.database.insert_media(key.clone(), None, this.clock.now(), content.clone()).await;
            if matches!(inserted, Ok(true)) {
                return Ok(content);
            }
            // Another node was faster, or the database failed.
            this.remove_unless_known(&key, &content.file).await;
            inserted?;
            let media = this.database.media(&key).await?;
            media.and_then(|media| media.content).ok_or(MediaError::NotFound)
        })
        .await
    }

    /// Wakes requests that wait for this media.
    pub(super) fn arrived(&self, key: MediaKey) {
        // An error means that no request waits.
        let _ = self.arrivals.send(key);
    }

    pub(super) async fn open(&self, key: &MediaKey, content: &MediaContent) -> Result<OpenMedia, MediaError> {
        match self.files.open(&content.file, content.size_bytes).await {
            Ok(bytes) => Ok(OpenMedia {
                content: bytes,
                version: content.file.clone(),
                content_type: content.content_type.clone(),
                file_name: content.file_name.clone(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(media_id = key.media_id, server = key.server_name, "the file of media is gone");
                self.contents.remove(key);
                Err(MediaError::NotFound)
            }
            Err(error) => Err(error.into()),
        }
    }
}
