//! `GET /_matrix/federation/v1/event/…` and `GET /_matrix/federation/v1/event_auth/…`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::serving::Serving;
use ruma::{OwnedEventId, OwnedRoomId};

use super::error::FederationResult;
use super::from_server::FromServer;
use crate::extract::{Path, json_bytes};

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid>
pub(crate) async fn event(
    server: FromServer,
    Path(event_id): Path<OwnedEventId>,
    State(serving): State<Arc<Serving>>,
) -> FederationResult<Response> {
    Ok(json_bytes(serving.event(&server.origin, &event_id).await?))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid>
pub(crate) async fn event_auth(
    server: FromServer,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    State(serving): State<Arc<Serving>>,
) -> FederationResult<Response> {
    Ok(json_bytes(serving.event_auth(&server.origin, &room_id, &event_id).await?))
}
