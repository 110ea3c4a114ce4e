//! Fetching media from other servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use accounts::asking::{Asker, Shares};
use accounts::rate_limits::{LimitedAction, RateLimits};
use bytes::Bytes;
use federation::{Client, OpenAnswer, RequestError, Signing};
use futures::{Stream, stream};
use http::HeaderMap;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use multer::{Field, Multipart};
use ruma::ServerName;
use ruma::http_headers::ContentDisposition;
use tasks::limits::Limit;

use super::uploading::{Received, receive};
use super::{MediaError, MediaFiles};

/// The most bytes before the content: the headers of two parts and the first part, with room for the start of the content.
const AROUND_BYTES: u64 = 1 << 20;
/// The longest boundary between parts, by RFC 2046.
const MAX_BOUNDARY_BYTES: usize = 70;
const NOT_YET_UPLOADED: &str = "M_NOT_YET_UPLOADED";

/// Fetches media from other servers.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#content-repository>
#[derive(Clone)]
pub struct RemoteMedia {
    client: Arc<Client>,
    limit: Arc<Limit>,
    shares: Arc<Shares>,
}

impl RemoteMedia {
    /// Fetches by `client`. `limit` bounds how many run at once, and a user gets a share of it, so that a server that sends
    /// slowly does not block requests to others.
    #[must_use]
    pub fn new(client: Arc<Client>, limit: Arc<Limit>, rate_limits: Arc<RateLimits>) -> Self {
        let shares = Arc::new(Shares::new(LimitedAction::RemoteMedia, rate_limits, limit.clone()));
        Self { client, limit, shares }
    }

    /// Fetches a content into a file. If the media ID has no content yet, the other server waits for it.
    pub(super) async fn fetch(
        &self,
        files: &MediaFiles,
        server: &ServerName,
        media_id: &str,
        (asker, wait): (Asker<'_>, Duration),
        most_bytes: u64,
    ) -> Result<Received, MediaError> {
        let _share = self.shares.enter(asker).await?;
        let _permit = self.limit.enter().await?;
        let wait_ms = wait.as_millis();
        let uri = format!("/_matrix/federation/v1/media/download/{media_id}?timeout_ms={wait_ms}");
        let fetched = match self.client.open(server, &uri, Signing::Signed, wait).await {
            Ok(answer) => from_parts(files, server, answer, most_bytes).await,
            Err(error) if error.is_unrecognized() => {
                let uri = format!(
                    "/_matrix/media/v3/download/{server}/{media_id}?allow_remote=false&allow_redirect=false\
                     &timeout_ms={wait_ms}"
                );
                let answer = self.client.open(server, &uri, Signing::Plain, wait).await.map_err(media_error)?;
                from_body(files, server, answer, most_bytes).await
            }
            Err(error) => Err(media_error(error)),
        };
        if let Err(error) = &fetched {
            tracing::debug!(%server, media_id, %error, "media was not fetched");
        }
        fetched
    }
}

/// The content of an answer in two parts: the second part.
async fn from_parts(
    files: &MediaFiles,
    server: &ServerName,
    answer: OpenAnswer,
    most_bytes: u64,
) -> Result<Received, MediaError> {
    let bad = |reason: &str| MediaError::from(RequestError::bad_answer(server, reason));
    let boundary = boundary(&answer.headers).ok_or_else(|| bad("its answer has no boundary between the parts"))?;
    // The parser keeps everything before the content in memory, and searches it again with each piece.
    let most_before = Arc::new(AtomicU64::new(AROUND_BYTES));
    let body = pieces(answer, most_before.clone());
    let mut parts = Multipart::new(body, boundary);
    let broken = |error: multer::Error| match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<RequestError>() {
            Ok(error) => MediaError::from(*error),
            Err(cause) => bad(&cause.to_string()),
        },
        error => bad(&error.to_string()),
    };
    // The first part is metadata, and empty so far.
    drop(parts.next_field().await.map_err(broken)?.ok_or_else(|| bad("its answer has no parts"))?);
    let part = parts.next_field().await.map_err(broken)?.ok_or_else(|| bad("its answer has one part only"))?;
    if part.headers().contains_key(LOCATION) {
        return Err(bad("it names another place where the media is, which is not followed"));
    }
    let (content_type, file_name) = described(part.headers());
    most_before.store(u64::MAX, Ordering::Relaxed);
    let body =
        stream::try_unfold(part, async |mut part: Field<'static>| Ok(part.chunk().await?.map(|piece| (piece, part))));
    let body = futures::TryStreamExt::map_err(body, broken);
    let file = receive(files, body, most_bytes, || too_large(server, most_bytes)).await?;
    Ok(Received { file, content_type, file_name })
}

/// The content of an answer without parts.
async fn from_body(
    files: &MediaFiles,
    server: &ServerName,
    answer: OpenAnswer,
    most_bytes: u64,
) -> Result<Received, MediaError> {
    let (content_type, file_name) = described(&answer.headers);
    let unlimited = Arc::new(AtomicU64::new(u64::MAX));
    let body = futures::TryStreamExt::map_err(pieces(answer, unlimited), MediaError::from);
    let file = receive(files, body, most_bytes, || too_large(server, most_bytes)).await?;
    Ok(Received { file, content_type, file_name })
}

/// The pieces of an answer. It fails after `most_bytes`, which may change while it runs.
fn pieces(
    answer: OpenAnswer,
    most_bytes: Arc<AtomicU64>,
) -> impl Stream<Item = Result<Bytes, RequestError>> + Send + 'static {
    stream::try_unfold((answer, 0), move |(mut answer, read)| {
        let most_bytes = most_bytes.clone();
        async move {
            // The parser polls until it must wait, before it parses. Yielding gives it one piece at a time.
            tokio::task::yield_now().await;
            if read > most_bytes.load(Ordering::Relaxed) {
                return Err(RequestError::bad_answer(answer.server(), "too much comes before the content"));
            }
            let piece = answer.piece().await?;
            Ok(piece.map(|piece| {
                let read = read + piece.len() as u64;
                (piece, (answer, read))
            }))
        }
    })
}

fn too_large(server: &ServerName, most_bytes: u64) -> MediaError {
    MediaError::RemoteTooLarge { server: server.to_owned(), most_bytes }
}

/// The error for the client of an error of another server.
fn media_error(error: RequestError) -> MediaError {
    if error.has_code(NOT_YET_UPLOADED) {
        MediaError::NotYetUploaded
    } else if error.is_not_found() {
        MediaError::NotFound
    } else {
        error.into()
    }
}

fn boundary(headers: &HeaderMap) -> Option<String> {
    let content_type: mime::Mime = headers.get(CONTENT_TYPE)?.to_str().ok()?.parse().ok()?;
    let is_multipart = content_type.type_() == mime::MULTIPART;
    let boundary = content_type.get_param(mime::BOUNDARY).filter(|_| is_multipart)?.to_string();
    (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()).then_some(boundary)
}

/// The type and the name of the file.
fn described(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let disposition = headers.get(CONTENT_DISPOSITION);
    let disposition = disposition.and_then(|value| ContentDisposition::try_from(value.as_bytes()).ok());
    (content_type, disposition.and_then(|disposition| disposition.filename))
}
