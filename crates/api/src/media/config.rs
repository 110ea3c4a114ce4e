use std::sync::Arc;

use axum::extract::State;
use media::ContentRepository;
use serde::Serialize;

use crate::extract::{GuestOrUser, Json};

#[derive(Serialize)]
pub(super) struct MediaConfig {
    #[serde(rename = "m.upload.size")]
    upload_size: u64,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig>
pub(super) async fn config(_: GuestOrUser, State(media): State<Arc<ContentRepository>>) -> Json<MediaConfig> {
    Json(MediaConfig { upload_size: media.most_bytes() })
}
