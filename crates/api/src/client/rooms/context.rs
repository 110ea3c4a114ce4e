//! `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::reading::{ContextRequest, History};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use super::reading::room_event_filter;
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Path, Query, json_bytes};

#[derive(Deserialize, Debug)]
pub(crate) struct Parameters {
    limit: Option<u64>,
    filter: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>
pub(crate) async fn context(
    GuestOrUser(requester): GuestOrUser,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    Query(parameters): Query<Parameters>,
    State(history): State<Arc<History>>,
) -> ClientResult<Response> {
    let filter = room_event_filter(parameters.filter.as_deref())?;
    let request = ContextRequest { limit: parameters.limit, filter };
    Ok(json_bytes(history.context(&requester, &room_id, &event_id, &request).await?))
}
