//! Media as an answer: nothing of what was uploaded is believed, so that it can do no harm to a client in a browser.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::header::{HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};
use ruma::http_headers::{ContentDisposition, ContentDispositionType};
use services::media::OpenMedia;
use tokio_util::io::ReaderStream;

/// What is read of a file at once.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
/// Media that somebody looks at may run nothing.
const POLICY: &str = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; \
                      style-src 'unsafe-inline'; object-src 'self';";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const UNKNOWN_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Types that may be shown where they are, as the specification lists them. Everything else is to be saved.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content>
const SHOWN: [&str; 26] = [
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// Who gets an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Somebody with a token.
    KnownHere,
    /// Anybody, so that caches on the way may keep it.
    Anybody,
}

/// The answer to a client. Contents never change, so clients need not ask again.
pub(super) fn answer(media: OpenMedia, reader: Reader) -> Response {
    let mut headers = described(&media);
    headers.insert(CONTENT_LENGTH, media.size_bytes.into());
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let kept = match reader {
        Reader::KnownHere => "private, max-age=31536000, immutable",
        Reader::Anybody => "public, max-age=86400",
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    let body = Body::from_stream(ReaderStream::with_capacity(media.file, PIECE_BYTES));
    (headers, body).into_response()
}

/// What it is and how it is called, in headers.
pub(crate) fn described(media: &OpenMedia) -> HeaderMap {
    let content_type = media.content_type.as_deref();
    let essence = content_type.map(|text| text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase());
    let is_shown = essence.is_some_and(|essence| SHOWN.contains(&essence.as_str()));
    let kind = if is_shown { ContentDispositionType::Inline } else { ContentDispositionType::Attachment };
    let disposition = ContentDisposition::new(kind).with_filename(media.file_name.clone()).to_string();
    let mut headers = HeaderMap::new();
    let content_type = content_type.and_then(|text| HeaderValue::from_str(text).ok());
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(UNKNOWN_TYPE));
    if let Ok(disposition) = HeaderValue::try_from(disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disposition(content_type: Option<&str>, file_name: Option<&str>) -> String {
        let file = tokio::fs::File::from_std(tempfile::tempfile().unwrap());
        let text = |text: Option<&str>| text.map(str::to_owned);
        let media = OpenMedia { file, size_bytes: 0, content_type: text(content_type), file_name: text(file_name) };
        described(&media)[CONTENT_DISPOSITION].to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn only_what_can_do_no_harm_is_shown() {
        for shown in ["image/png", "IMAGE/PNG", "text/plain; charset=utf-8", "video/mp4 ;x"] {
            assert_eq!(disposition(Some(shown), None), "inline", "{shown}");
        }
        for saved in ["text/html", "image/svg+xml", "application/xhtml+xml", "", ";image/png", "image/png,text/html"] {
            assert_eq!(disposition(Some(saved), None), "attachment", "{saved}");
        }
        assert_eq!(disposition(None, None), "attachment");
    }

    #[tokio::test]
    async fn a_name_stays_a_name_whatever_is_in_it() {
        for (name, header) in [
            ("cat.png", "inline; filename=cat.png"),
            ("a cat; and a dog.png", "inline; filename=\"a cat; and a dog.png\""),
            ("a\"b\\c\r\nX: y", "inline; filename=\"a\\\"b\\\\cX: y\""),
            ("Kätzchen", "inline; filename*=utf-8''K%C3%A4tzchen"),
        ] {
            assert_eq!(disposition(Some("image/png"), Some(name)), header, "{name}");
        }
    }
}
