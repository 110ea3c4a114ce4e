//! `/_matrix/client/v3/directory/room/{roomAlias}`

use std::sync::Arc;

use axum::extract::State;
use homeserver_core::Identity;
use http::StatusCode;
use rooms::remote::{RemoteAlias, RemoteQueries};
use rooms::{Aliases, RoomError};
use ruma::{OwnedRoomAliasId, OwnedRoomId};
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{AskedBy, Authenticated, Json, Path, Unsuspended};

#[derive(Serialize)]
pub(crate) struct Resolved {
    room_id: OwnedRoomId,
    servers: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct PointsTo {
    room_id: OwnedRoomId,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias>
pub(crate) async fn resolve(
    asked_by: AskedBy,
    Path(alias): Path<OwnedRoomAliasId>,
    State(identity): State<Arc<Identity>>,
    State(aliases): State<Arc<Aliases>>,
    State(remote): State<Arc<RemoteQueries>>,
) -> ClientResult<Json<Resolved>> {
    if alias.server_name() != identity.server_name {
        let RemoteAlias { room_id, servers } = remote.alias(asked_by.asker(), &alias).await?;
        return Ok(Json(Resolved { room_id, servers: servers.into_iter().map(Into::into).collect() }));
    }
    let (room_id, servers) = aliases.resolve(&alias).await?;
    Ok(Json(Resolved { room_id, servers }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias>
pub(crate) async fn create(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(alias): Path<OwnedRoomAliasId>,
    State(aliases): State<Arc<Aliases>>,
    Json(body): Json<PointsTo>,
) -> ClientResult<Json<Empty>> {
    let created = aliases.create(&requester, &alias, &body.room_id).await;
    created.map_err(|error| match error {
        // Here, unlike when a room is created, the specification has no code of its own.
        RoomError::AliasInUse(_) => ClientError(ApiError::unknown(error.to_string()).with_status(StatusCode::CONFLICT)),
        error => error.into(),
    })?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias>
pub(crate) async fn delete(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(alias): Path<OwnedRoomAliasId>,
    State(aliases): State<Arc<Aliases>>,
) -> ClientResult<Json<Empty>> {
    aliases.delete(&requester, &alias).await?;
    Ok(Json(Empty {}))
}
