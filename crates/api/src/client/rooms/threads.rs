//! `GET /_matrix/client/v1/rooms/{roomId}/threads`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::reading::{History, ThreadsRequest};
use ruma::OwnedRoomId;
use serde::Deserialize;

use super::reading::place;
use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{GuestOrUser, Path, Query, json_bytes};

#[derive(Deserialize, Debug)]
pub(crate) struct Parameters {
    from: Option<String>,
    limit: Option<u64>,
    #[serde(default)]
    include: Include,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
enum Include {
    #[default]
    All,
    Participated,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads>
pub(crate) async fn threads(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
    State(history): State<Arc<History>>,
) -> ClientResult<Response> {
    if parameters.limit == Some(0) {
        return Err(ApiError::invalid_param("limit: must be greater than zero").into());
    }
    let request = ThreadsRequest {
        from: place("from", parameters.from.as_deref())?,
        limit: parameters.limit,
        is_participated_only: parameters.include == Include::Participated,
    };
    Ok(json_bytes(history.threads(&requester, &room_id, request).await?))
}
