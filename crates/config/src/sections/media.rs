use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{ByteSize, size_between};

/// Uploaded and downloaded media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// The directory of the files; by default `media` in `server.data_dir`.
    #[schemars(example = "data/media")]
    pub path: Option<PathBuf>,
    /// The largest file that may be uploaded.
    #[serde(deserialize_with = "size_between::<_, 1, 1_099_511_627_776>")]
    pub max_upload_size: ByteSize,
    /// Also answer downloads by the old paths without a token.
    pub allow_unauthenticated: bool,
}

impl Default for Media {
    fn default() -> Self {
        Self { path: None, max_upload_size: ByteSize::from_mib(100), allow_unauthenticated: false }
    }
}
