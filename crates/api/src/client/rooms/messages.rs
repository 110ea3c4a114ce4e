//! `GET /_matrix/client/v3/rooms/{roomId}/messages`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use replication::backfill::Backfill;
use rooms::reading::{Direction, MessagesRequest};
use ruma::OwnedRoomId;
use serde::Deserialize;

use super::reading::{DirectionParameter, place, room_event_filter};
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Path, Query, json_bytes};

#[derive(Deserialize, Debug)]
pub(crate) struct Parameters {
    from: Option<String>,
    to: Option<String>,
    /// Forwards if absent: the specification requires it, but clients in use leave it out.
    dir: Option<DirectionParameter>,
    limit: Option<u64>,
    filter: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
pub(crate) async fn messages(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
    State(backfill): State<Arc<Backfill>>,
) -> ClientResult<Response> {
    let request = MessagesRequest {
        from: place("from", parameters.from.as_deref())?,
        to: place("to", parameters.to.as_deref())?,
        direction: parameters.dir.map_or(Direction::Forwards, Direction::from),
        limit: parameters.limit,
        filter: room_event_filter(parameters.filter.as_deref())?,
        crosses_gaps: false,
    };
    Ok(json_bytes(backfill.messages(&requester, &room_id, &request).await?.json))
}
