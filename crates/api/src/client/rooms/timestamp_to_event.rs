//! `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use homeserver_core::Timestamp;
use replication::backfill::Backfill;
use ruma::OwnedRoomId;
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Path, Query, json_bytes};
use crate::federation::timestamp_to_event::DirectionParameter;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    ts: u64,
    dir: DirectionParameter,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>
pub(crate) async fn timestamp_to_event(
    Authenticated(requester): Authenticated,
    Path(room_id): Path<OwnedRoomId>,
    Query(Parameters { ts, dir }): Query<Parameters>,
    State(backfill): State<Arc<Backfill>>,
) -> ClientResult<Response> {
    Ok(json_bytes(
        backfill
            .event_at_time(&requester, &room_id, Timestamp(i64::try_from(ts).unwrap_or(i64::MAX)), dir.into())
            .await?,
    ))
}
