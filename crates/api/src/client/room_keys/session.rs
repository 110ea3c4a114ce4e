//! `/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`

use std::sync::Arc;

use axum::extract::State;
use encryption::backup::{BackupError, Backups, KeyData, RoomSessions, Rooms, SessionFilter, UploadedKey};

use super::{ChangeAnswer, OfVersion};
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Path, Query};

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomidsessionid>
pub(crate) async fn put(
    Authenticated(requester): Authenticated,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(of): Query<OfVersion>,
    State(backups): State<Arc<Backups>>,
    Json(key): Json<UploadedKey>,
) -> ClientResult<Json<ChangeAnswer>> {
    let keys = Rooms { rooms: [(room_id, RoomSessions { sessions: [(session_id, key)].into() })].into() };
    Ok(Json(backups.put(requester.user_sn, &of.version, keys).await?.into()))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomidsessionid>
pub(crate) async fn read(
    Authenticated(requester): Authenticated,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(of): Query<OfVersion>,
    State(backups): State<Arc<Backups>>,
) -> ClientResult<Json<KeyData>> {
    let filter = SessionFilter::Session(room_id.into(), session_id.into());
    let keys = backups.keys(requester.user_sn, &of.version, &filter).await?;
    let key = keys.rooms.into_values().flat_map(|room| room.sessions.into_values()).next();
    Ok(Json(key.ok_or(BackupError::NotFound)?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeysroomidsessionid>
pub(crate) async fn delete(
    Authenticated(requester): Authenticated,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(of): Query<OfVersion>,
    State(backups): State<Arc<Backups>>,
) -> ClientResult<Json<ChangeAnswer>> {
    let filter = SessionFilter::Session(room_id.into(), session_id.into());
    Ok(Json(backups.remove(requester.user_sn, &of.version, filter).await?.into()))
}
