//! `GET /_matrix/federation/v1/state/…` and `GET /_matrix/federation/v1/state_ids/…`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::serving::Serving;
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use super::error::FederationResult;
use super::from_server::FromServer;
use crate::extract::{Path, Query, json_bytes};

#[derive(Deserialize)]
pub(crate) struct AtEvent {
    event_id: OwnedEventId,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid>
pub(crate) async fn state(
    server: FromServer,
    Path(room_id): Path<OwnedRoomId>,
    Query(at): Query<AtEvent>,
    State(serving): State<Arc<Serving>>,
) -> FederationResult<Response> {
    Ok(json_bytes(serving.state(&server.origin, &room_id, &at.event_id).await?))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid>
pub(crate) async fn state_ids(
    server: FromServer,
    Path(room_id): Path<OwnedRoomId>,
    Query(at): Query<AtEvent>,
    State(serving): State<Arc<Serving>>,
) -> FederationResult<Response> {
    Ok(json_bytes(serving.state_ids(&server.origin, &room_id, &at.event_id).await?))
}
