use std::sync::Arc;

use axum::extract::State;
use homeserver_core::Timestamp;
use media::ContentRepository;
use serde::Serialize;

use crate::error::ApiResult;
use crate::extract::{Authenticated, Json};

#[derive(Serialize)]
pub(super) struct Created {
    content_uri: String,
    unused_expires_at: Timestamp,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create>
pub(super) async fn create(
    Authenticated(requester): Authenticated,
    State(media): State<Arc<ContentRepository>>,
) -> ApiResult<Json<Created>> {
    let announced = media.announce(&requester).await?;
    Ok(Json(Created { content_uri: announced.content_uri, unused_expires_at: announced.unused_expires_at }))
}
