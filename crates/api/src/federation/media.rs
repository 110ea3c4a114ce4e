//! `GET /_matrix/federation/v1/media/…`

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use homeserver_core::{Identity, random_string};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use media::{ContentRepository, DownloadOptions, MediaId, OpenMedia};

use super::from_server::FromServer;
use crate::extract::{Path, Query};
use crate::federation::error::FederationResult;
use crate::media::{Thumbnail, Waiting, body, described};

/// Long enough not to be in any content.
const BOUNDARY_LENGTH: usize = 40;

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid>
pub(crate) async fn download(
    _: FromServer,
    Path(media_id): Path<MediaId>,
    Query(waiting): Query<Waiting>,
    State(identity): State<Arc<Identity>>,
    State(media): State<Arc<ContentRepository>>,
) -> FederationResult<Response> {
    let options = DownloadOptions { wait: waiting.wait(), asker: None };
    Ok(in_parts(media.download(&identity.server_name, media_id, options).await?))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediathumbnailmediaid>
pub(crate) async fn thumbnail(
    _: FromServer,
    Path(media_id): Path<MediaId>,
    Query(thumbnail): Query<Thumbnail>,
    Query(waiting): Query<Waiting>,
    State(identity): State<Arc<Identity>>,
    State(media): State<Arc<ContentRepository>>,
) -> FederationResult<Response> {
    let options = DownloadOptions { wait: waiting.wait(), asker: None };
    let request = thumbnail.request();
    Ok(in_parts(media.thumbnail(&identity.server_name, media_id, request, options).await?))
}

/// What is known of the media, which is nothing so far, and the content.
fn in_parts(media: OpenMedia) -> Response {
    let boundary = random_string(BOUNDARY_LENGTH);
    let mut before =
        format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n").into_bytes();
    for (name, value) in &described(&media) {
        before.extend_from_slice(name.as_str().as_bytes());
        before.extend_from_slice(b": ");
        before.extend_from_slice(value.as_bytes());
        before.extend_from_slice(b"\r\n");
    }
    before.extend_from_slice(b"\r\n");
    let after = format!("\r\n--{boundary}--\r\n").into_bytes();
    let around = (before.len() + after.len()) as u64;

    let mut headers = HeaderMap::new();
    if let Ok(content_type) = format!("multipart/mixed; boundary={boundary}").parse() {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(CONTENT_LENGTH, (around + media.content.size_bytes()).into());
    let piece = |bytes: Vec<u8>| stream::iter([Ok(Bytes::from(bytes))]);
    let content = body(media.content.into_whole()).into_data_stream();
    (headers, Body::from_stream(piece(before).chain(content).chain(piece(after)))).into_response()
}
