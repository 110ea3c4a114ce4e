//! What goes wrong with the database.

use accounts::StorageError;

use super::ApiError;

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(%error, "the database did not answer a request");
            return Self::unavailable("The database cannot be reached: try again in a moment");
        }
        Self::internal("Using the database", &error)
    }
}
