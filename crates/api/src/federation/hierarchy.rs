//! `GET /_matrix/federation/v1/hierarchy/{roomId}`

use std::sync::Arc;

use axum::extract::State;
use replication::hierarchy::{Hierarchies, ServedHierarchy};
use ruma::OwnedRoomId;
use serde::Deserialize;

use super::error::FederationResult;
use super::from_server::FromServer;
use crate::extract::{Json, Path, Query};

#[derive(Deserialize)]
pub(crate) struct Parameters {
    #[serde(default)]
    suggested_only: bool,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>
pub(crate) async fn hierarchy(
    server: FromServer,
    Path(room_id): Path<OwnedRoomId>,
    Query(Parameters { suggested_only }): Query<Parameters>,
    State(hierarchies): State<Arc<Hierarchies>>,
) -> FederationResult<Json<ServedHierarchy>> {
    Ok(Json(hierarchies.serve(&server.origin, &room_id, suggested_only).await?))
}
