use std::sync::Arc;

use api::state::MediaComponents;
use config::Config;
use media::{ContentRepository, MediaFiles, MediaOptions};

use super::{federation::FederationParts, foundation::Foundation};

/// Files.
pub(crate) struct MediaParts {
    pub(super) components: MediaComponents,
}

impl MediaParts {
    /// The content repository follows the log from here on.
    pub(super) fn new(config: &Config, foundation: &Foundation, federation: &FederationParts) -> Self {
        let media = ContentRepository::new(
            foundation.database.clone(),
            foundation.clock.clone(),
            foundation.identity.clone(),
            foundation.rate_limits.clone(),
            MediaFiles::new(config.media_path()),
            federation.remote_media.clone(),
            foundation.heavy_work.thumbnails.clone(),
            options(config),
            foundation.stopping.clone(),
        );
        let media = Arc::new(media);
        media.follow();
        Self { components: MediaComponents { media } }
    }

    /// Takes over the limits of a new configuration.
    pub(super) fn reconfigure(&self, config: &Config) {
        self.components.media.reconfigure(options(config));
    }
}

fn options(config: &Config) -> MediaOptions {
    let media = &config.media;
    MediaOptions {
        most_bytes: media.max_upload_size.bytes(),
        most_pixels: media.max_image_pixels.into(),
        most_announced: media.max_pending_uploads,
        announced_for: media.unused_expiration_time.duration(),
        keep_fetched_for: media.remote_media_lifetime.map(config::Period::duration),
        allow_unauthenticated: media.allow_unauthenticated,
    }
}
