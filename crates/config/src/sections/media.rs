use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{ByteSize, Period, size_between, whole_number};

/// Uploaded and downloaded media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// The directory of the files; by default `media` in `server.data_dir`.
    #[schemars(example = "data/media")]
    pub path: Option<PathBuf>,
    /// The largest file that may be uploaded, or fetched of another server.
    #[serde(deserialize_with = "size_between::<_, 1, 1_099_511_627_776>")]
    pub max_upload_size: ByteSize,
    /// The largest picture that gets a thumbnail, in pixels. Each pixel takes up to 8 bytes of memory while the thumbnail is made.
    #[serde(deserialize_with = "whole_number::<_, 1, 1_000_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_image_pixels: u32,
    /// A client can have the address of a file before it uploads it. So many of these can wait for their files, for each user.
    #[serde(deserialize_with = "whole_number::<_, 1, 100_000>")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_pending_uploads: u32,
    /// How long they wait.
    pub unused_expiration_time: Period,
    /// Files of other servers that were fetched longer ago are removed, and fetched again when somebody asks. By default they are kept.
    #[schemars(example = "90d")]
    pub remote_media_lifetime: Option<Period>,
    /// Also answer downloads by the old paths without a token.
    pub allow_unauthenticated: bool,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            path: None,
            max_upload_size: ByteSize::from_mib(100),
            max_image_pixels: 32_000_000,
            max_pending_uploads: 5,
            unused_expiration_time: Period::from_secs(24 * 3600),
            remote_media_lifetime: None,
            allow_unauthenticated: false,
        }
    }
}
