//! `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`, and the same with `make_leave` and `make_knock`

use std::sync::Arc;

use axum::extract::State;
use replication::requests::Handshake;
use replication::resident::Resident;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::extract::{Json, Path, Query};
use crate::federation::error::FederationResult;
use crate::federation::from_server::FromServer;

#[derive(Deserialize)]
pub(crate) struct Versions {
    #[serde(default)]
    ver: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Template {
    room_version: &'static str,
    event: Box<RawValue>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid>
pub(crate) async fn join(
    server: FromServer,
    path: Path<(OwnedRoomId, OwnedUserId)>,
    Query(Versions { mut ver }): Query<Versions>,
    resident: State<Arc<Resident>>,
) -> FederationResult<Json<Template>> {
    // Servers that name none know the first one.
    if ver.is_empty() {
        ver.push("1".to_owned());
    }
    propose(server, path, resident, Handshake::Join, Some(ver)).await
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid>
pub(crate) async fn knock(
    server: FromServer,
    path: Path<(OwnedRoomId, OwnedUserId)>,
    Query(Versions { ver }): Query<Versions>,
    resident: State<Arc<Resident>>,
) -> FederationResult<Json<Template>> {
    propose(server, path, resident, Handshake::Knock, Some(ver)).await
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid>
pub(crate) async fn leave(
    server: FromServer,
    path: Path<(OwnedRoomId, OwnedUserId)>,
    resident: State<Arc<Resident>>,
) -> FederationResult<Json<Template>> {
    propose(server, path, resident, Handshake::Leave, None).await
}

async fn propose(
    server: FromServer,
    Path((room_id, user_id)): Path<(OwnedRoomId, OwnedUserId)>,
    State(resident): State<Arc<Resident>>,
    handshake: Handshake,
    versions: Option<Vec<String>>,
) -> FederationResult<Json<Template>> {
    let names = (&*room_id, &*user_id);
    let proposal = resident.propose(&server.origin, handshake, names, versions.as_deref()).await?;
    let event = serde_json::from_slice(&proposal.event);
    let event = event.map_err(|error| ApiError::internal("Proposing an event", &error))?;
    Ok(Json(Template { room_version: proposal.version.as_str(), event }))
}
