use std::sync::Arc;
use std::time::Duration;

use accounts::asking::Asker;
use axum::extract::State;
use axum::response::Response;
use media::{ContentRepository, DownloadOptions, MediaId};
use ruma::OwnedServerName;
use serde::Deserialize;

use super::answer::{Asked, Reader, answer};
use crate::error::ApiResult;
use crate::extract::{GuestOrUser, Path, Query};

/// How long clients wait that do not say for how long, in milliseconds; and at most.
const USUAL_WAIT_MS: u64 = 20_000;
const MOST_WAIT_MS: u64 = 60_000;

#[derive(Deserialize)]
pub(crate) struct Waiting {
    timeout_ms: Option<u64>,
}

impl Waiting {
    /// Until the content is there, if it was announced and not uploaded yet.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.unwrap_or(USUAL_WAIT_MS).min(MOST_WAIT_MS))
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid>
pub(super) async fn download(
    GuestOrUser(requester): GuestOrUser,
    asked: Asked,
    Path((server_name, media_id)): Path<(OwnedServerName, MediaId)>,
    Query(waiting): Query<Waiting>,
    State(media): State<Arc<ContentRepository>>,
) -> ApiResult<Response> {
    let options = DownloadOptions { wait: waiting.wait(), asker: Some(Asker::User(&requester)) };
    Ok(answer(media.download(&server_name, media_id, options).await?, &asked, Reader::KnownHere))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaidfilename>
pub(super) async fn named(
    GuestOrUser(requester): GuestOrUser,
    asked: Asked,
    Path((server_name, media_id, file_name)): Path<(OwnedServerName, MediaId, String)>,
    Query(waiting): Query<Waiting>,
    State(media): State<Arc<ContentRepository>>,
) -> ApiResult<Response> {
    let options = DownloadOptions { wait: waiting.wait(), asker: Some(Asker::User(&requester)) };
    let mut found = media.download(&server_name, media_id, options).await?;
    found.file_name = Some(file_name);
    Ok(answer(found, &asked, Reader::KnownHere))
}
