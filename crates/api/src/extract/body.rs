//! Reads a request body, bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::error::{ApiError, ApiResult};

/// How long a client may take to send a body that is read as a whole.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The body of a request with these headers, at most `limit_bytes` long.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit_bytes: usize) -> ApiResult<Bytes> {
    if announced_length(headers).is_some_and(|length| length > limit_bytes) {
        return Err(too_large(limit_bytes));
    }
    let body = Limited::new(body, limit_bytes).collect();
    match tokio::time::timeout(READ_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit_bytes)),
        Ok(Err(_)) => Err(ApiError::unknown("The request body ended before it was complete")),
        Err(_) => {
            Err(ApiError::unknown("The request body took too long to arrive").with_status(StatusCode::REQUEST_TIMEOUT))
        }
    }
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit_bytes: usize) -> ApiError {
    ApiError::too_large(format!("The request body is larger than {limit_bytes} bytes"))
}
