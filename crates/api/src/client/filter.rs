//! `/_matrix/client/v3/user/{userId}/filter…`

use std::sync::Arc;

use accounts::filters::{FilterError, Filters};
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{GuestOrUser, Json, OwnUser, json_bytes};

#[derive(Serialize)]
pub(super) struct Stored {
    filter_id: String,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter>
pub(super) async fn store(
    OwnUser(GuestOrUser(requester), ()): OwnUser<GuestOrUser>,
    State(filters): State<Arc<Filters>>,
    Json(filter): Json<Map<String, Value>>,
) -> ClientResult<Json<Stored>> {
    Ok(Json(Stored { filter_id: filters.store(requester.user_sn, filter).await? }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid>
pub(super) async fn read(
    OwnUser(GuestOrUser(requester), filter_id): OwnUser<GuestOrUser, String>,
    State(filters): State<Arc<Filters>>,
) -> ClientResult<Response> {
    Ok(json_bytes(filters.json(requester.user_sn, &filter_id).await?))
}

impl From<FilterError> for ClientError {
    fn from(error: FilterError) -> Self {
        Self(match error {
            FilterError::Invalid(_) => ApiError::bad_json(error.to_string()),
            FilterError::TooLarge => ApiError::too_large(error.to_string()),
            FilterError::TooMany => ApiError::resource_limit_exceeded(error.to_string()),
            FilterError::NoSuchFilter => ApiError::not_found(error.to_string()),
            FilterError::Storage(error) => error.into(),
        })
    }
}
