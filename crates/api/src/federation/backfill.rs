//! `GET /_matrix/federation/v1/backfill/…`

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
pub(crate) struct Parameters {
    #[serde(default)]
    v: Vec<OwnedEventId>,
    limit: usize,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid>
pub(crate) async fn backfill(
    server: FromServer,
    Path(room_id): Path<OwnedRoomId>,
    Query(Parameters { v, limit }): Query<Parameters>,
    State(serving): State<Arc<Serving>>,
) -> FederationResult<Response> {
    Ok(json_bytes(serving.backfill(&server.origin, &room_id, &v, limit).await?))
}
