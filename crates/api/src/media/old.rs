//! The paths that need no token: frozen, unless the configuration says otherwise.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use media::{ContentRepository, DownloadOptions, MediaId, OpenMedia};
use ruma::OwnedServerName;
use serde::Deserialize;

use super::answer::{Asked, Reader, answer};
use super::{Thumbnail, Waiting};
use crate::error::{ApiError, ApiResult};
use crate::extract::{AskedBy, Path, Query};

#[derive(Deserialize)]
pub(super) struct Fetching {
    allow_remote: Option<bool>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaid>
pub(super) async fn download(
    asked_by: AskedBy,
    asked: Asked,
    Path((server_name, media_id)): Path<(OwnedServerName, MediaId)>,
    Query(waiting): Query<Waiting>,
    Query(fetching): Query<Fetching>,
    State(media): State<Arc<ContentRepository>>,
) -> ApiResult<Response> {
    let found = find(&media, &server_name, media_id, options(&waiting, &fetching, &asked_by)).await?;
    Ok(answer(found, &asked, Reader::Anybody))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaidfilename>
pub(super) async fn named(
    asked_by: AskedBy,
    asked: Asked,
    Path((server_name, media_id, file_name)): Path<(OwnedServerName, MediaId, String)>,
    Query(waiting): Query<Waiting>,
    Query(fetching): Query<Fetching>,
    State(media): State<Arc<ContentRepository>>,
) -> ApiResult<Response> {
    let mut found = find(&media, &server_name, media_id, options(&waiting, &fetching, &asked_by)).await?;
    found.file_name = Some(file_name);
    Ok(answer(found, &asked, Reader::Anybody))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3thumbnailservernamemediaid>
pub(super) async fn thumbnail(
    asked_by: AskedBy,
    asked: Asked,
    Path((server_name, media_id)): Path<(OwnedServerName, MediaId)>,
    Query(thumbnail): Query<Thumbnail>,
    Query(waiting): Query<Waiting>,
    Query(fetching): Query<Fetching>,
    State(media): State<Arc<ContentRepository>>,
) -> ApiResult<Response> {
    must_be_open(&media)?;
    let options = options(&waiting, &fetching, &asked_by);
    let found = media.thumbnail(&server_name, media_id, thumbnail.request(), options).await?;
    Ok(answer(found, &asked, Reader::Anybody))
}

async fn find(
    media: &Arc<ContentRepository>,
    server_name: &OwnedServerName,
    media_id: MediaId,
    options: DownloadOptions<'_>,
) -> ApiResult<OpenMedia> {
    must_be_open(media)?;
    Ok(media.download(server_name, media_id, options).await?)
}

fn options<'a>(waiting: &Waiting, fetching: &Fetching, asked_by: &'a AskedBy) -> DownloadOptions<'a> {
    let may_fetch = fetching.allow_remote.unwrap_or(true);
    DownloadOptions { wait: waiting.wait(), asker: may_fetch.then(|| asked_by.asker()) }
}

fn must_be_open(media: &ContentRepository) -> ApiResult<()> {
    if media.allows_unauthenticated() {
        return Ok(());
    }
    Err(ApiError::not_found("Media needs an access token here: use the paths below /_matrix/client/v1/media"))
}
