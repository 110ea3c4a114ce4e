//! Errors, as clients are told them.

use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

/// What the handlers of this boundary answer with.
pub(crate) type ClientResult<T> = Result<T, ClientError>;

/// An error as clients are told it. The mapping of a component's error is beside the endpoints of that component.
#[derive(Debug)]
pub(crate) struct ClientError(pub(crate) ApiError);

/// What everybody is told alike.
impl<E: Into<ApiError>> From<E> for ClientError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ClientError {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
