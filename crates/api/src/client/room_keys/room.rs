//! `/_matrix/client/v3/room_keys/keys/{roomId}`

use std::sync::Arc;

use axum::extract::State;
use encryption::backup::{Backups, KeyData, RoomSessions, Rooms, SessionFilter, UploadedKey};

use super::{ChangeAnswer, OfVersion};
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Path, Query};

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomid>
pub(crate) async fn put(
    Authenticated(requester): Authenticated,
    Path(room_id): Path<String>,
    Query(of): Query<OfVersion>,
    State(backups): State<Arc<Backups>>,
    Json(keys): Json<RoomSessions<UploadedKey>>,
) -> ClientResult<Json<ChangeAnswer>> {
    let keys = Rooms { rooms: [(room_id, keys)].into() };
    Ok(Json(backups.put(requester.user_sn, &of.version, keys).await?.into()))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomid>
pub(crate) async fn read(
    Authenticated(requester): Authenticated,
    Path(room_id): Path<String>,
    Query(of): Query<OfVersion>,
    State(backups): State<Arc<Backups>>,
) -> ClientResult<Json<RoomSessions<KeyData>>> {
    let filter = SessionFilter::Room(room_id.into());
    let keys = backups.keys(requester.user_sn, &of.version, &filter).await?;
    let nothing = || RoomSessions { sessions: std::collections::BTreeMap::new() };
    Ok(Json(keys.rooms.into_values().next().unwrap_or_else(nothing)))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeysroomid>
pub(crate) async fn delete(
    Authenticated(requester): Authenticated,
    Path(room_id): Path<String>,
    Query(of): Query<OfVersion>,
    State(backups): State<Arc<Backups>>,
) -> ClientResult<Json<ChangeAnswer>> {
    let filter = SessionFilter::Room(room_id.into());
    Ok(Json(backups.remove(requester.user_sn, &of.version, filter).await?.into()))
}
