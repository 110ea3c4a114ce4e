//! `POST /_matrix/client/v3/user_directory/search`

use std::sync::Arc;

use axum::extract::State;
use rooms::user_directory::{FoundUsers, UserDirectory, UserDirectoryError};
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};
use crate::extract::{Authenticated, Json};

#[derive(Deserialize)]
pub(super) struct Search {
    search_term: String,
    limit: Option<u32>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch>
pub(super) async fn search(
    Authenticated(requester): Authenticated,
    State(directory): State<Arc<UserDirectory>>,
    Json(search): Json<Search>,
) -> ApiResult<Json<FoundUsers>> {
    let limit = search.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Json(directory.search(&requester, &search.search_term, limit).await?))
}

impl From<UserDirectoryError> for ApiError {
    fn from(error: UserDirectoryError) -> Self {
        match error {
            UserDirectoryError::TermTooLong => Self::invalid_param(error.to_string()),
            UserDirectoryError::LimitExceeded(error) => error.into(),
            UserDirectoryError::Busy(error) => error.into(),
            UserDirectoryError::Storage(error) => error.into(),
        }
    }
}
