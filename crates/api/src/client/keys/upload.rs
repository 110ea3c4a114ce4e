//! `POST /_matrix/client/v3/keys/upload`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use encryption::keys::{Keys, KeysUploadRequest, UploadError};
use serde::Serialize;

use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{GuestOrUser, Json};

#[derive(Serialize)]
pub(crate) struct UploadAnswer {
    one_time_key_counts: BTreeMap<String, i64>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload>
pub(crate) async fn upload(
    GuestOrUser(requester): GuestOrUser,
    State(keys): State<Arc<Keys>>,
    Json(request): Json<KeysUploadRequest>,
) -> ClientResult<Json<UploadAnswer>> {
    let counts = keys.upload(&requester, request).await?;
    Ok(Json(UploadAnswer { one_time_key_counts: counts.one_time_keys }))
}

impl From<UploadError> for ClientError {
    fn from(error: UploadError) -> Self {
        Self(match error {
            UploadError::Malformed(_) => ApiError::bad_json(error.to_string()),
            UploadError::OtherDevice
            | UploadError::WrongSignature(_)
            | UploadError::UnknownAlgorithm(_)
            | UploadError::TwoFallbackKeys => ApiError::invalid_param(error.to_string()),
            UploadError::NoDevice | UploadError::OtherKey(_) => ApiError::unknown(error.to_string()),
            UploadError::TooMany => ApiError::too_large(error.to_string()),
            UploadError::Storage(error) => error.into(),
        })
    }
}
