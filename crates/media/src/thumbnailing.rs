//! Thumbnails: found, or made when somebody asks for them, and kept.

use std::sync::Arc;

use accounts::asking::Asker;
use homeserver_core::HeapSize;
use ruma::ServerName;
use storage::{MediaContent, MediaKey, ThumbnailKey};

use super::thumbnail::{LARGEST, Picture, look, make};
use super::uploading::{Received, to_the_end};
use super::{ContentRepository, MediaError, MediaId, OpenMedia, Patience, ThumbnailRequest};

/// Names one of the thumbnails of a content.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ThumbnailOf {
    key: MediaKey,
    size: ThumbnailKey,
}

/// What a content looks like in a size. Contents never change, so this does not either.
#[derive(Debug)]
pub(super) enum Thumbnail {
    /// The content is no larger. This is its type by its first bytes.
    AsItIs(&'static str),
    /// Made and kept.
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
    /// A content as a small picture.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid>
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn thumbnail(
        self: &Arc<Self>,
        server_name: &ServerName,
        media_id: MediaId,
        request: ThumbnailRequest,
        patience: Patience<'_>,
    ) -> Result<OpenMedia, MediaError> {
        let key = MediaKey { server_name: server_name.to_string(), media_id: media_id.into_string() };
        self.content(&key, server_name, patience).await?;
        let size = match request.size() {
            Some(size) if !request.may_move => size,
            size => {
                let (content, opened) = self.opened(&key, server_name, patience).await?;
                let path = self.files.path(&content.file)?;
                let look = self.heavily(patience.asker, move || look(&path)).await?;
                let stays_as_it_is = if look.moves { request.may_move } else { size.is_none() };
                if stays_as_it_is {
                    return Ok(opened.with_type(look.content_type()));
                }
                size.unwrap_or(LARGEST)
            }
        };
        let of = ThumbnailOf { key, size };
        match self.known_thumbnail(&of).await?.as_deref() {
            None => {}
            Some(Thumbnail::AsItIs(content_type)) => {
                return Ok(self.opened(&of.key, server_name, patience).await?.1.with_type(content_type));
            }
            Some(Thumbnail::Kept(kept)) => match self.open(&of.key, kept).await {
                // Somebody has removed the file, so another one is made.
                Err(MediaError::NotFound) => {
                    self.pictures.remove(&of);
                    self.database.remove_media_thumbnail(of.key.clone(), size, kept.file.clone()).await?;
                }
                opened => return opened,
            },
        }
        self.new_thumbnail(of, server_name, patience).await
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
        patience: Patience<'_>,
    ) -> Result<OpenMedia, MediaError> {
        let (content, opened) = self.opened(&of.key, server_name, patience).await?;
        let (path, size, most_pixels) = (self.files.path(&content.file)?, of.size, self.options.read().most_pixels);
        let is_remote = server_name != self.identity.server_name;
        match self.heavily(patience.asker, move || make(&path, size, most_pixels)).await {
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

    /// Does what is heavy on a thread for such work, within the limit. A user who asks for much waits for places of a share, so that the
    /// others are served in between.
    async fn heavily<T: Send + 'static>(
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
            // Until the work is done, whether or not anybody still waits for it.
            let _places = (share, permit);
            work()
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "reading a picture failed");
            Err(MediaError::NotAPicture)
        })
    }

    /// Keeps a thumbnail for the requests that follow.
    async fn keep(
        self: &Arc<Self>,
        of: ThumbnailOf,
        bytes: Vec<u8>,
        content_type: &str,
    ) -> Result<OpenMedia, MediaError> {
        let (this, content_type) = (self.clone(), Some(content_type.to_owned()));
        to_the_end(async move {
            let mut draft = this.files.begin().await?;
            draft.write(&bytes).await?;
            let made = Received { draft, content_type, file_name: None }.keep(&this.files).await?;
            let opened = this.open(&of.key, &made).await;
            if this.database.insert_media_thumbnail(of.key.clone(), of.size, made.clone()).await? {
                this.pictures.insert(of, Arc::new(Thumbnail::Kept(made)));
            } else {
                // Another request was faster. A request that has the file open still reads it.
                this.files.remove(&made.file).await;
            }
            opened
        })
        .await
    }
}
