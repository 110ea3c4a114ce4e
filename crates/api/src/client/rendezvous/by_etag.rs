//! `/_matrix/client/unstable/org.matrix.msc4108/rendezvous`: payloads as text, with an ETag for each.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4108>

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accounts::rendezvous::{MAX_PAYLOAD_BYTES, Rendezvous, RendezvousError, RendezvousSession};
use accounts::well_known::WellKnown;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use homeserver_core::Timestamp;
use http::header::{
    ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HOST, IF_MATCH, IF_NONE_MATCH,
    LAST_MODIFIED, PRAGMA,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use crate::client::error::ClientResult;
use crate::error::{ApiError, ApiResult};
use crate::extract::body;
use crate::extract::{ClientAddress, Path};

const PATH: &str = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";

pub(crate) async fn open(
    ClientAddress(address): ClientAddress,
    State(well_known): State<Arc<WellKnown>>,
    State(rendezvous): State<Arc<Rendezvous>>,
    request: Request,
) -> ClientResult<Response> {
    let (parts, body) = request.into_parts();
    is_text(&parts.headers)?;
    let payload = body::read(&parts.headers, body, MAX_PAYLOAD_BYTES).await?;
    let base = well_known.base_url().or_else(|| {
        let host = parts.headers.get(HOST)?.to_str().ok()?;
        Some(format!("http://{host}"))
    });
    let base = base.ok_or_else(|| ApiError::missing_param("Host: the header is missing"))?;
    let session = rendezvous.open(address, payload).await?;
    let url = format!("{}{PATH}/{}", base.trim_end_matches('/'), session.session_id);
    Ok(answer(StatusCode::CREATED, &session, "application/json", json!({ "url": url }).to_string()))
}

pub(crate) async fn read(
    ClientAddress(address): ClientAddress,
    Path(session_id): Path<String>,
    headers: HeaderMap,
    State(rendezvous): State<Arc<Rendezvous>>,
) -> ClientResult<Response> {
    let session = rendezvous.read(address, &session_id).await?;
    let known = headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|known| version_of(known.trim()) == session.version);
    let payload = if is_known { Body::empty() } else { Body::from(session.payload.clone()) };
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    Ok(answer(status, &session, "text/plain", payload))
}

pub(crate) async fn write(
    ClientAddress(address): ClientAddress,
    Path(session_id): Path<String>,
    State(rendezvous): State<Arc<Rendezvous>>,
    request: Request,
) -> ClientResult<Response> {
    let (parts, body) = request.into_parts();
    is_text(&parts.headers)?;
    let known =
        parts.headers.get(IF_MATCH).ok_or_else(|| ApiError::missing_param("If-Match: the header is missing"))?;
    let known = known.to_str().map_err(|_| ApiError::invalid_param("If-Match: this is no ETag"))?;
    let known = version_of(known.trim()).to_owned();
    let payload = body::read(&parts.headers, body, MAX_PAYLOAD_BYTES).await?;
    match rendezvous.write(address, session_id, known, payload).await {
        Ok(session) => Ok(answer(StatusCode::ACCEPTED, &session, "text/plain", Body::empty())),
        Err(RendezvousError::Conflict(session)) => {
            let sentence = RendezvousError::Conflict(session.clone()).to_string();
            let error = json!({
                "errcode": "M_UNKNOWN", "error": sentence, "org.matrix.msc4108.errcode": "M_CONCURRENT_WRITE",
            });
            Ok(answer(StatusCode::PRECONDITION_FAILED, &session, "application/json", error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn close(
    ClientAddress(address): ClientAddress,
    Path(session_id): Path<String>,
    State(rendezvous): State<Arc<Rendezvous>>,
) -> ClientResult<StatusCode> {
    rendezvous.close(address, session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn is_text(headers: &HeaderMap) -> ApiResult<()> {
    let kind =
        headers.get(CONTENT_TYPE).ok_or_else(|| ApiError::missing_param("Content-Type: the header is missing"))?;
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    if kind.trim().eq_ignore_ascii_case("text/plain") {
        return Ok(());
    }
    Err(ApiError::invalid_param("Content-Type: a payload is text/plain"))
}

/// The version that an ETag stands for. A proxy that compresses answers makes weak ones of them.
fn version_of(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

fn answer(status: StatusCode, session: &RendezvousSession, kind: &'static str, body: impl Into<Body>) -> Response {
    let body: Body = body.into();
    let mut response = (status, body).into_response();
    let fixed = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (PRAGMA, "no-cache"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "ETag"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let of_session = [
        (ETAG, format!("\"{}\"", session.version)),
        (EXPIRES, date(session.expires_at)),
        (LAST_MODIFIED, date(session.written_at)),
    ];
    for (name, value) in of_session {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn date(time: Timestamp) -> String {
    let since = Duration::from_millis(u64::try_from(time.0).unwrap_or_default());
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)
}
