//! What is known of media; the content is in files.

use homeserver_core::{HeapSize, Timestamp, UserSn};

use crate::{Database, LogEntry, Row, StorageError, params};

/// Names media: the two parts of an `mxc://` URI.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MediaKey {
    /// The server that it was uploaded to.
    pub server_name: String,
    /// Its ID there.
    pub media_id: String,
}

/// What is known of media.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Media {
    /// The user who uploaded it, or is going to; `None` if it was fetched from another server.
    pub user_sn: Option<UserSn>,
    /// When it was uploaded or fetched, or when its ID was given out.
    pub created_at: Timestamp,
    /// Until when its content can be uploaded, if there is none.
    pub expires_at: Option<Timestamp>,
    /// What was uploaded.
    pub content: Option<MediaContent>,
}

/// What was uploaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaContent {
    /// The name of the file.
    pub file: String,
    /// How long that is.
    pub size_bytes: u64,
    /// Its type, as the uploader said.
    pub content_type: Option<String>,
    /// Its name, as the uploader said.
    pub file_name: Option<String>,
}

/// A picture that was made of media, because a client asked for this size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ThumbnailKey {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Whether it was cut to the ratio of the two.
    pub is_cropped: bool,
}

/// What came of an upload to an ID that was given out before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filled {
    /// The media has its content now.
    Done,
    /// There is no such ID, or it has expired.
    NoSuchMedia,
    /// It was given to another user.
    OfSomebodyElse,
    /// There is content already.
    Before,
}

impl Media {
    /// Whether content of this user may be uploaded to it.
    #[must_use]
    pub fn fillable_by(&self, user_sn: UserSn, now: Timestamp) -> Filled {
        if self.user_sn != Some(user_sn) {
            return Filled::OfSomebodyElse;
        }
        match self.expires_at {
            None => Filled::Before,
            Some(expires_at) if expires_at <= now => Filled::NoSuchMedia,
            Some(_) => Filled::Done,
        }
    }
}

impl HeapSize for MediaKey {
    fn heap_bytes(&self) -> usize {
        self.server_name.heap_bytes() + self.media_id.heap_bytes()
    }
}

impl HeapSize for ThumbnailKey {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl HeapSize for MediaContent {
    fn heap_bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, HeapSize::heap_bytes);
        self.file.heap_bytes() + optional(&self.content_type) + optional(&self.file_name)
    }
}

macro_rules! select {
    ($lock:literal) => {
        concat!(
            "SELECT user_sn, created_at, expires_at, file, size_bytes, content_type, file_name FROM media ",
            "WHERE server_name = $1 AND media_id = $2",
            $lock
        )
    };
}

const SELECT: &str = select!("");
/// For a change: of two uploads to one ID at the same time, the second finds the content of the first.
const SELECT_LOCKED: &str = select!(" FOR_UPDATE");
const INSERT: &str = "INSERT INTO media (server_name, media_id, user_sn, created_at, file, size_bytes, content_type, \
                      file_name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";

impl Database {
    /// What is known of media.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn media(&self, key: &MediaKey) -> Result<Option<Media>, StorageError> {
        self.query_optional(SELECT, params![&key.server_name, &key.media_id], read_media).await
    }

    /// Adds media with its content; returns whether it is new.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn insert_media(
        &self,
        key: MediaKey,
        user_sn: Option<UserSn>,
        now: Timestamp,
        content: MediaContent,
    ) -> Result<bool, StorageError> {
        self.write(async move |tx| {
            let (content_type, file_name) = (content.content_type.as_deref(), content.file_name.as_deref());
            let size_bytes = stored(content.size_bytes);
            let (server_name, media_id, file) = (&key.server_name, &key.media_id, &content.file);
            let values = params![server_name, media_id, user_sn, now, file, size_bytes, content_type, file_name];
            Ok(tx.execute(INSERT, values).await? > 0)
        })
        .await
    }

    /// Adds media without content, which can be uploaded until `expires_at`. Returns whether that was done: of those
    /// of a user that still wait, there are `most` at most.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn insert_media_without_content(
        &self,
        key: MediaKey,
        user_sn: UserSn,
        now: Timestamp,
        expires_at: Timestamp,
        most: u32,
    ) -> Result<bool, StorageError> {
        let count = "SELECT COUNT(*) FROM media WHERE user_sn = $1 AND expires_at > $2";
        let insert =
            "INSERT INTO media (server_name, media_id, user_sn, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
        self.write(async move |tx| {
            tx.lock_account(user_sn).await?;
            let waiting: Option<i64> = tx.query_optional(count, params![user_sn, now], |row| row.get(0)).await?;
            if waiting.unwrap_or(0) >= i64::from(most) {
                return Ok(false);
            }
            tx.execute(insert, params![&key.server_name, &key.media_id, user_sn, now, expires_at]).await?;
            Ok(true)
        })
        .await
    }

    /// Gives media its content.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn fill_media(
        &self,
        key: MediaKey,
        user_sn: UserSn,
        now: Timestamp,
        content: MediaContent,
    ) -> Result<Filled, StorageError> {
        let update = "UPDATE media SET expires_at = NULL, created_at = $3, file = $4, size_bytes = $5, content_type = $6, \
                      file_name = $7 WHERE server_name = $1 AND media_id = $2";
        self.write(async move |tx| {
            let position = tx.next_position().await?;
            let (server_name, media_id) = (&key.server_name, &key.media_id);
            let found = tx.query_optional(SELECT_LOCKED, params![server_name, media_id], read_media).await?;
            let fillable = found.map_or(Filled::NoSuchMedia, |media| media.fillable_by(user_sn, now));
            if fillable == Filled::Done {
                let (content_type, file_name) = (content.content_type.as_deref(), content.file_name.as_deref());
                let size_bytes = stored(content.size_bytes);
                let values = params![server_name, media_id, now, &content.file, size_bytes, content_type, file_name];
                tx.execute(update, values).await?;
                tx.publish(LogEntry::Media { position, media: [key.clone()].into() });
            }
            Ok(fillable)
        })
        .await
    }

    /// The picture that was made of media for that size.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn media_thumbnail(
        &self,
        key: &MediaKey,
        size: ThumbnailKey,
    ) -> Result<Option<MediaContent>, StorageError> {
        let sql = "SELECT file, size_bytes, content_type FROM media_thumbnails \
                   WHERE server_name = $1 AND media_id = $2 AND width = $3 AND height = $4 AND is_cropped = $5";
        let ThumbnailKey { width, height, is_cropped } = size;
        let values = params![&key.server_name, &key.media_id, i64::from(width), i64::from(height), is_cropped];
        self.query_optional(sql, values, |row| {
            let size_bytes = row.get::<i64>(1)?.unsigned_abs();
            Ok(MediaContent { file: row.get(0)?, size_bytes, content_type: row.get(2)?, file_name: None })
        })
        .await
    }

    /// Adds a picture that was made of media; returns whether there was none of that size.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn insert_media_thumbnail(
        &self,
        key: MediaKey,
        size: ThumbnailKey,
        content: MediaContent,
    ) -> Result<bool, StorageError> {
        let sql = "INSERT INTO media_thumbnails (server_name, media_id, width, height, is_cropped, file, size_bytes, \
                   content_type) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
        let ThumbnailKey { width, height, is_cropped } = size;
        self.write(async move |tx| {
            let (width, height, size_bytes) = (i64::from(width), i64::from(height), stored(content.size_bytes));
            let (server_name, media_id, file) = (&key.server_name, &key.media_id, &content.file);
            let content_type = content.content_type.as_deref().unwrap_or_default();
            let values = params![server_name, media_id, width, height, is_cropped, file, size_bytes, content_type];
            Ok(tx.execute(sql, values).await? > 0)
        })
        .await
    }

    /// Forgets a picture that was made of media, if it is in that file.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_media_thumbnail(
        &self,
        key: MediaKey,
        size: ThumbnailKey,
        file: String,
    ) -> Result<(), StorageError> {
        let sql = "DELETE FROM media_thumbnails \
                   WHERE server_name = $1 AND media_id = $2 AND width = $3 AND height = $4 AND is_cropped = $5 AND file = $6";
        let ThumbnailKey { width, height, is_cropped } = size;
        self.write(async move |tx| {
            let (width, height) = (i64::from(width), i64::from(height));
            let values = params![&key.server_name, &key.media_id, width, height, is_cropped, &file];
            tx.execute(sql, values).await.map(drop)
        })
        .await
    }

    /// The names of up to `limit` files that nothing refers to any more.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn media_files_to_remove(&self, limit: i64) -> Result<Vec<String>, StorageError> {
        let sql = "SELECT file FROM media_files_to_remove ORDER BY file LIMIT $1";
        self.query(sql, params![limit], |row| row.get(0)).await
    }

    /// Forgets files that were removed.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn forget_removed_media_files(&self, files: Vec<String>) -> Result<(), StorageError> {
        let sql = "DELETE FROM media_files_to_remove WHERE file IN LIST($1)";
        self.write(async move |tx| tx.execute(sql, params![&files]).await.map(drop)).await
    }

    /// Removes up to `limit` IDs that have expired without content.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_expired_media(&self, now: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT media_id FROM media WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2";
        let found: Vec<String> = self.query(find, params![now, limit], |row| row.get(0)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        // Only this server gives out IDs before their content, so these are of one server.
        let sql = "DELETE FROM media WHERE media_id IN LIST($1) AND expires_at <= $2";
        self.write(async move |tx| tx.execute(sql, params![&found, now]).await).await
    }

    /// Forgets up to `limit` of other servers' media that were fetched before `fetched_before`, with what was made of them.
    /// Returns which, and the names of all their files.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_media_of_others(
        &self,
        fetched_before: Timestamp,
        limit: i64,
    ) -> Result<(Vec<MediaKey>, Vec<String>), StorageError> {
        let find =
            "SELECT created_at FROM media WHERE user_sn IS NULL AND created_at < $1 ORDER BY created_at LIMIT $2";
        let thumbnails = "DELETE FROM media_thumbnails WHERE (server_name, media_id) IN \
                          (SELECT server_name, media_id FROM media WHERE user_sn IS NULL AND created_at <= $1) \
                          RETURNING file";
        let media =
            "DELETE FROM media WHERE user_sn IS NULL AND created_at <= $1 RETURNING server_name, media_id, file";
        let found: Vec<Timestamp> = self.query(find, params![fetched_before, limit], |row| row.get(0)).await?;
        // With media that was fetched in the same millisecond.
        let Some(newest) = found.last().copied() else { return Ok((Vec::new(), Vec::new())) };
        self.write(async move |tx| {
            let position = tx.next_position().await?;
            let mut files: Vec<String> = tx.query(thumbnails, params![newest], |row| row.get(0)).await?;
            let read = |row: &Row<'_>| {
                let key = MediaKey { server_name: row.get(0)?, media_id: row.get(1)? };
                Ok((key, row.get::<Option<String>>(2)?))
            };
            let removed = tx.query(media, params![newest], read).await?;
            let (keys, of_media): (Vec<MediaKey>, Vec<Option<String>>) = removed.into_iter().unzip();
            files.extend(of_media.into_iter().flatten());
            tx.publish(LogEntry::Media { position, media: keys.iter().cloned().collect() });
            Ok((keys, files))
        })
        .await
    }
}

fn read_media(row: &Row<'_>) -> Result<Media, StorageError> {
    let file: Option<String> = row.get(3)?;
    let content = match file {
        None => None,
        Some(file) => Some(MediaContent {
            file,
            size_bytes: row.get::<i64>(4)?.unsigned_abs(),
            content_type: row.get(5)?,
            file_name: row.get(6)?,
        }),
    };
    Ok(Media { user_sn: row.get(0)?, created_at: row.get(1)?, expires_at: row.get(2)?, content })
}

fn stored(size_bytes: u64) -> i64 {
    i64::try_from(size_bytes).unwrap_or(i64::MAX)
}
