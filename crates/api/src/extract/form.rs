//! The fields of an HTML form.

use axum::extract::Request;
use serde::de::DeserializeOwned;

use super::{body, query};
use crate::error::{ApiError, ApiResult};

/// The fields that a page sent as the body of `request`, at most `limit_bytes` long.
pub(crate) async fn form<T: DeserializeOwned>(request: Request, limit_bytes: usize) -> ApiResult<T> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, limit_bytes).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| ApiError::invalid_param("The form is not valid UTF-8"))?;
    query::parse(text)
}
