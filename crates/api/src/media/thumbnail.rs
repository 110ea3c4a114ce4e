use std::num::NonZeroU32;
use std::sync::Arc;

use accounts::asking::Asker;
use axum::extract::State;
use axum::response::Response;
use media::{ContentRepository, DownloadOptions, MediaId, ThumbnailRequest};
use ruma::OwnedServerName;
use serde::Deserialize;

use super::Waiting;
use super::answer::{Asked, Reader, answer};
use crate::error::ApiResult;
use crate::extract::{GuestOrUser, Path, Query};

#[derive(Deserialize)]
pub(crate) struct Thumbnail {
    width: NonZeroU32,
    height: NonZeroU32,
    #[serde(default)]
    method: Method,
    #[serde(default)]
    animated: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Method {
    Crop,
    #[default]
    Scale,
}

impl Thumbnail {
    pub(crate) fn request(&self) -> ThumbnailRequest {
        ThumbnailRequest {
            width: self.width.get(),
            height: self.height.get(),
            is_cropped: matches!(self.method, Method::Crop),
            may_move: self.animated,
        }
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid>
pub(super) async fn thumbnail(
    GuestOrUser(requester): GuestOrUser,
    asked: Asked,
    Path((server_name, media_id)): Path<(OwnedServerName, MediaId)>,
    Query(thumbnail): Query<Thumbnail>,
    Query(waiting): Query<Waiting>,
    State(media): State<Arc<ContentRepository>>,
) -> ApiResult<Response> {
    let options = DownloadOptions { wait: waiting.wait(), asker: Some(Asker::User(&requester)) };
    let found = media.thumbnail(&server_name, media_id, thumbnail.request(), options).await?;
    Ok(answer(found, &asked, Reader::KnownHere))
}
