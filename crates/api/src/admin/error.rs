//! Errors, as administrators are told them.

use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

/// What the handlers of this boundary answer with.
pub(crate) type AdminResult<T> = Result<T, AdminError>;

/// An error as administrators are told it. Unlike users, they are told what exists.
#[derive(Debug)]
pub(crate) struct AdminError(pub(crate) ApiError);

/// What everybody is told alike.
impl<E: Into<ApiError>> From<E> for AdminError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
