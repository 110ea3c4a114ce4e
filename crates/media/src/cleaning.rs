//! Removing media that is no longer needed.

use std::time::Duration;

use homeserver_core::UserSn;

use super::{ContentRepository, MediaError};

/// Longer than any upload takes.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// So many names of uploads are removed in one transaction.
const NAMES_AT_ONCE: i64 = 200;

impl ContentRepository {
    /// Removes up to `limit` media IDs whose content never came. Returns how many.
    pub async fn remove_expired(&self, limit: i64) -> Result<u64, MediaError> {
        Ok(self.database.remove_expired_media(self.clock.now(), limit).await?)
    }

    /// Removes up to `limit` contents of other servers that are older than `keep_fetched_for`. Returns how many.
    pub async fn remove_fetched(&self, limit: i64) -> Result<u64, MediaError> {
        let Some(age) = self.options.read().keep_fetched_for else { return Ok(0) };
        let (media, files) = self.database.remove_media_of_others(self.clock.now().minus(age), limit).await?;
        for key in &media {
            self.contents.remove(key);
        }
        for file in &files {
            self.files.remove(file).await;
        }
        Ok(media.len() as u64)
    }

    /// Removes the names of some uploads of a user. Returns how many; 0 if none has a name.
    pub async fn forget_names_of(&self, user_sn: UserSn) -> Result<usize, MediaError> {
        let media = self.database.forget_names_of_media(user_sn, NAMES_AT_ONCE).await?;
        for key in &media {
            self.contents.remove(key);
        }
        Ok(media.len())
    }

    /// Removes up to `limit` files that the database no longer names. Returns how many.
    pub async fn remove_unneeded(&self, limit: i64) -> Result<u64, MediaError> {
        let files = self.database.media_files_to_remove(limit).await?;
        for file in &files {
            self.files.remove(file).await;
        }
        let removed = files.len() as u64;
        if removed > 0 {
            self.database.forget_removed_media_files(files).await?;
        }
        Ok(removed)
    }

    /// Removes partial files that a killed server left.
    pub async fn remove_abandoned(&self) -> Result<u64, MediaError> {
        Ok(self.files.remove_abandoned(ABANDONED_AFTER).await?)
    }
}
