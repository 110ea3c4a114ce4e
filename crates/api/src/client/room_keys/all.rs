//! `/_matrix/client/v3/room_keys/keys`

use std::sync::Arc;

use axum::extract::State;
use encryption::backup::{Backups, KeyData, Rooms, SessionFilter, UploadedKey};

use super::{ChangeAnswer, OfVersion};
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Query};

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys>
pub(crate) async fn put(
    Authenticated(requester): Authenticated,
    Query(of): Query<OfVersion>,
    State(backups): State<Arc<Backups>>,
    Json(keys): Json<Rooms<UploadedKey>>,
) -> ClientResult<Json<ChangeAnswer>> {
    Ok(Json(backups.put(requester.user_sn, &of.version, keys).await?.into()))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeys>
pub(crate) async fn read(
    Authenticated(requester): Authenticated,
    Query(of): Query<OfVersion>,
    State(backups): State<Arc<Backups>>,
) -> ClientResult<Json<Rooms<KeyData>>> {
    Ok(Json(backups.keys(requester.user_sn, &of.version, &SessionFilter::All).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeys>
pub(crate) async fn delete(
    Authenticated(requester): Authenticated,
    Query(of): Query<OfVersion>,
    State(backups): State<Arc<Backups>>,
) -> ClientResult<Json<ChangeAnswer>> {
    Ok(Json(backups.remove(requester.user_sn, &of.version, SessionFilter::All).await?.into()))
}
