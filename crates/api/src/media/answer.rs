//! Media as an answer: nothing of what was uploaded is believed, so that it can do no harm to a client in a browser.

use std::convert::Infallible;
use std::io;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::Stream;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use media::{OpenMedia, Part};
use ruma::http_headers::{ContentDisposition, ContentDispositionType};

use super::range::{Selection, select};
use crate::error::ApiError;

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

/// How a content was asked for.
pub(super) struct Asked {
    method: Method,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let wanted = [IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE];
        let mut headers = HeaderMap::new();
        for name in wanted {
            for value in parts.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Ok(Self { method: parts.method.clone(), headers })
    }
}

/// Who gets an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Somebody with a token.
    KnownHere,
    /// Anybody, so that caches on the way may keep it.
    Anybody,
}

/// The answer to a client. Contents never change, so clients need not ask again, and can continue where an answer broke off.
pub(super) fn answer(media: OpenMedia, asked: &Asked, reader: Reader) -> Response {
    let Asked { method, headers } = asked;
    let (size_bytes, tag) = (media.content.size_bytes(), format!("\"{}\"", media.version));
    let selection = select(method, headers, &tag, size_bytes);
    let mut headers = if selection == Selection::NotModified { HeaderMap::new() } else { described(&media) };
    harmless(&mut headers, reader);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(&mut headers, ETAG, tag);
    match selection {
        Selection::Whole => {
            headers.insert(CONTENT_LENGTH, size_bytes.into());
            (headers, body(media.content.into_whole())).into_response()
        }
        Selection::Part { start, length } => {
            headers.insert(CONTENT_LENGTH, length.into());
            let range = format!("bytes {start}-{}/{size_bytes}", start.saturating_add(length).saturating_sub(1));
            insert(&mut headers, CONTENT_RANGE, range);
            (StatusCode::PARTIAL_CONTENT, headers, body(media.content.into_part(start, length))).into_response()
        }
        Selection::NotModified => (StatusCode::NOT_MODIFIED, headers).into_response(),
        Selection::Other => ApiError::unknown("This is another content than the one that If-Match names")
            .with_status(StatusCode::PRECONDITION_FAILED)
            .into_response(),
        Selection::Unsatisfiable => {
            let sentence = format!("The content has {size_bytes} bytes, and none of those that Range names");
            let error = ApiError::unknown(sentence).with_status(StatusCode::RANGE_NOT_SATISFIABLE);
            let mut response = error.into_response();
            insert(response.headers_mut(), CONTENT_RANGE, format!("bytes */{size_bytes}"));
            response
        }
    }
}

/// A part of a content as a body.
pub(crate) fn body<S: Stream<Item = io::Result<Bytes>> + Send + 'static>(part: Part<S>) -> Body {
    match part {
        Part::Whole(bytes) => Body::from(bytes),
        Part::Pieces(pieces) => Body::from_stream(pieces),
    }
}

/// Keeps a browser from running what it is sent.
fn harmless(headers: &mut HeaderMap, reader: Reader) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let kept = match reader {
        Reader::KnownHere => "private, max-age=31536000, immutable",
        Reader::Anybody => "public, max-age=86400",
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
}

/// What it is and how it is called, in headers.
pub(crate) fn described(media: &OpenMedia) -> HeaderMap {
    let content_type = media.content_type.as_deref();
    let essence = content_type.map(|text| text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase());
    let is_shown = essence.is_some_and(|essence| SHOWN.contains(&essence.as_str()));
    let kind = if is_shown { ContentDispositionType::Inline } else { ContentDispositionType::Attachment };
    let disposition = ContentDisposition::new(kind).with_filename(media.file_name.clone()).to_string();
    let mut headers = HeaderMap::new();
    let content_type = content_type.filter(|text| !text.is_empty());
    let content_type = content_type.and_then(|text| HeaderValue::from_str(text).ok());
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(UNKNOWN_TYPE));
    insert(&mut headers, CONTENT_DISPOSITION, disposition);
    headers
}

/// Inserts what is fit for a header.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use media::MediaBytes;

    use super::*;

    fn disposition(content_type: Option<&str>, file_name: Option<&str>) -> String {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let (content, version) = (MediaBytes::of(Bytes::new()), "version".to_owned());
        let media = OpenMedia { content, version, content_type: text(content_type), file_name: text(file_name) };
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
