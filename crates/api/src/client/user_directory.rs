//! `POST /_matrix/client/v3/user_directory/search`

use std::sync::Arc;

use axum::extract::State;
use rooms::user_directory::{FoundUsers, UserDirectory, UserDirectoryError};
use serde::Deserialize;

use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
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
) -> ClientResult<Json<FoundUsers>> {
    let limit = search.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Json(directory.search(&requester, &search.search_term, limit).await?))
}

impl From<UserDirectoryError> for ClientError {
    fn from(error: UserDirectoryError) -> Self {
        Self(match error {
            UserDirectoryError::TermTooLong => ApiError::invalid_param(error.to_string()),
            UserDirectoryError::LimitExceeded(error) => error.into(),
            UserDirectoryError::Busy(error) => error.into(),
            UserDirectoryError::Storage(error) => error.into(),
        })
    }
}
