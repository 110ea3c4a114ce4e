//! `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`, and those with a kind of relation and a type of events

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::reading::{Direction, History, RelationsRequest};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use super::reading::{DirectionParameter, place};
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Path, Query, json_bytes};

#[derive(Deserialize, Debug)]
pub(crate) struct Parameters {
    from: Option<String>,
    to: Option<String>,
    dir: Option<DirectionParameter>,
    limit: Option<u64>,
    #[serde(default)]
    recurse: bool,
}

impl Parameters {
    fn request(self, rel_type: Option<String>, event_type: Option<String>) -> ClientResult<RelationsRequest> {
        Ok(RelationsRequest {
            rel_type,
            event_type,
            from: place("from", self.from.as_deref())?,
            to: place("to", self.to.as_deref())?,
            direction: self.dir.map_or(Direction::Backwards, Direction::from),
            limit: self.limit,
            recurse: self.recurse,
        })
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid>
pub(crate) async fn all(
    GuestOrUser(requester): GuestOrUser,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    Query(parameters): Query<Parameters>,
    State(history): State<Arc<History>>,
) -> ClientResult<Response> {
    let request = parameters.request(None, None)?;
    Ok(json_bytes(history.relations(&requester, &room_id, &event_id, &request).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltype>
pub(crate) async fn of_kind(
    GuestOrUser(requester): GuestOrUser,
    Path((room_id, event_id, rel_type)): Path<(OwnedRoomId, OwnedEventId, String)>,
    Query(parameters): Query<Parameters>,
    State(history): State<Arc<History>>,
) -> ClientResult<Response> {
    let request = parameters.request(Some(rel_type), None)?;
    Ok(json_bytes(history.relations(&requester, &room_id, &event_id, &request).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype>
pub(crate) async fn of_kind_and_type(
    GuestOrUser(requester): GuestOrUser,
    Path((room_id, event_id, rel_type, event_type)): Path<(OwnedRoomId, OwnedEventId, String, String)>,
    Query(parameters): Query<Parameters>,
    State(history): State<Arc<History>>,
) -> ClientResult<Response> {
    let request = parameters.request(Some(rel_type), Some(event_type))?;
    Ok(json_bytes(history.relations(&requester, &room_id, &event_id, &request).await?))
}
