//! Thumbnails are made at the first request, and kept.

use std::sync::Arc;

use accounts::asking::Asker;
use homeserver_core::HeapSize;
use ruma::ServerName;
use storage::{MediaContent, MediaKey, ThumbnailKey};

use super::thumbnail::{LARGEST, Picture, kind_of, make};
use super::uploading::{Received, to_the_end};
use super::{ContentRepository, DownloadOptions, MediaError, MediaId, OpenMedia, ThumbnailRequest};

/// The key of a thumbnail.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ThumbnailOf {
    key: MediaKey,
    size: ThumbnailKey,
}

/// The thumbnail of a content in one size. It never changes.
#[derive(Debug)]
pub(super) enum Thumbnail {
    /// The content is no larger than the size. This is the type in its first bytes.
    AsItIs(&'static str),
    /// A smaller picture.
    Kept(MediaContent),
}

impl HeapSize for ThumbnailOf {
    fn heap_bytes(&self) -> usize {
        self.key.heap_bytes()
    }
}

impl HeapSize for Thumbnail {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::AsItIs(_) => 0,
            Self::Kept(content) => content.heap_bytes(),
        }
    }
}

impl ContentRepository {
    /// The thumbnail of a content.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid>
    pub async fn thumbnail(
        self: &Arc<Self>,
        server_name: &ServerName,
        media_id: MediaId,
        request: ThumbnailRequest,
        options: DownloadOptions<'_>,
    ) -> Result<OpenMedia, MediaError> {
        let key = MediaKey { server_name: server_name.to_string(), media_id: media_id.into_string() };
        self.content(&key, server_name, options).await?;
        let size = match request.size() {
            Some(size) if !request.may_move => size,
            size => {
                let (content, opened) = self.opened(&key, server_name, options).await?;
                let path = self.files.path(&content.file)?;
                let kind = self.compute(options.asker, move || kind_of(&path)).await?;
                let is_unchanged = if kind.is_animated { request.may_move } else { size.is_none() };
                if is_unchanged {
                    return Ok(opened.with_type(kind.content_type()));
                }
                size.unwrap_or(LARGEST)
            }
        };
        let of = ThumbnailOf { key, size };
        match self.known_thumbnail(&of).await?.as_deref() {
            None => {}
            Some(Thumbnail::AsItIs(content_type)) => {
                return Ok(self.opened(&of.key, server_name, options).await?.1.with_type(content_type));
            }
            Some(Thumbnail::Kept(kept)) => match self.open(&of.key, kept).await {
                // The file was removed, so a new one is made.
                Err(MediaError::NotFound) => {
                    self.pictures.remove(&of);
                    self.database.remove_media_thumbnail(of.key.clone(), size, kept.file.clone()).await?;
                }
                opened => return opened,
            },
        }
        self.new_thumbnail(of, server_name, options).await
    }

    async fn known_thumbnail(&self, of: &ThumbnailOf) -> Result<Option<Arc<Thumbnail>>, MediaError> {
        if let Some(known) = self.pictures.get(of) {
            return Ok(Some(known));
        }
        let Some(kept) = self.database.media_thumbnail(&of.key, of.size).await? else { return Ok(None) };
        let known = Arc::new(Thumbnail::Kept(kept));
        self.pictures.insert(of.clone(), known.clone());
        Ok(Some(known))
    }

    async fn new_thumbnail(
        self: &Arc<Self>,
        of: ThumbnailOf,
        server_name: &ServerName,
        options: DownloadOptions<'_>,
    ) -> Result<OpenMedia, MediaError> {
        let (content, opened) = self.opened(&of.key, server_name, options).await?;
        let (path, size, most_pixels) = (self.files.path(&content.file)?, of.size, self.options.read().most_pixels);
        let is_remote = server_name != self.identity.server_name;
        match self.compute(options.asker, move || make(&path, size, most_pixels)).await {
            Ok(Picture::AsItIs { content_type }) => {
                self.pictures.insert(of, Arc::new(Thumbnail::AsItIs(content_type)));
                Ok(opened.with_type(content_type))
            }
            Ok(Picture::Made { bytes, content_type }) => self.keep(of, bytes, content_type).await,
            Err(MediaError::PictureTooLarge { most_pixels, .. }) => {
                Err(MediaError::PictureTooLarge { most_pixels, is_remote })
            }
            Err(error) => Err(error),
        }
    }

    /// Runs work that takes processor time on a blocking thread, within the limit. A user with many requests waits for a share
    /// of it, so that requests of other users run in between.
    async fn compute<T: Send + 'static>(
        &self,
        asker: Option<Asker<'_>>,
        work: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
    ) -> Result<T, MediaError> {
        let share = match asker {
            Some(asker) => Some(self.thumbnail_shares.enter(&asker.key()).await?),
            None => None,
        };
        let permit = self.thumbnails.enter().await?;
        let done = tokio::task::spawn_blocking(move || {
            // The permits are held until the work is done, even if the request is dropped.
            let _permits = (share, permit);
            work()
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "reading a picture failed");
            Err(MediaError::NotAPicture)
        })
    }

    /// Keeps a thumbnail for later requests.
    async fn keep(
        self: &Arc<Self>,
        of: ThumbnailOf,
        bytes: Vec<u8>,
        content_type: &str,
    ) -> Result<OpenMedia, MediaError> {
        let (this, content_type) = (self.clone(), Some(content_type.to_owned()));
        to_the_end(async move {
            let mut file = this.files.begin().await?;
            file.write(&bytes).await?;
            let made = Received { file, content_type, file_name: None }.keep(&this.files).await?;
            let opened = this.open(&of.key, &made).await;
            if this.database.insert_media_thumbnail(of.key.clone(), of.size, made.clone()).await? {
                this.pictures.insert(of, Arc::new(Thumbnail::Kept(made)));
            } else {
                // Another request was faster. This request still reads its open file.
                this.files.remove(&made.file).await;
            }
            opened
        })
        .await
    }
}
