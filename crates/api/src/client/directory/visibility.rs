//! `/_matrix/client/v3/directory/list/room/{roomId}`

use std::sync::Arc;

use axum::extract::State;
use rooms::Directory;
use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::client::error::ClientResult;
use crate::client::rooms::create::DirectoryVisibility;
use crate::extract::{Authenticated, Json, Path, Unsuspended};

#[derive(Serialize)]
pub(crate) struct Listed {
    visibility: DirectoryVisibility,
}

#[derive(Deserialize)]
pub(crate) struct ToBeListed {
    visibility: Option<DirectoryVisibility>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid>
pub(crate) async fn read(
    Path(room_id): Path<OwnedRoomId>,
    State(directory): State<Arc<Directory>>,
) -> ClientResult<Json<Listed>> {
    let is_published = directory.is_published(&room_id).await?;
    Ok(Json(Listed {
        visibility: if is_published { DirectoryVisibility::Public } else { DirectoryVisibility::Private },
    }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid>
pub(crate) async fn set(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    Path(room_id): Path<OwnedRoomId>,
    State(directory): State<Arc<Directory>>,
    Json(body): Json<ToBeListed>,
) -> ClientResult<Json<Empty>> {
    let is_published = body.visibility.unwrap_or(DirectoryVisibility::Public) == DirectoryVisibility::Public;
    directory.publish(&requester, &room_id, is_published).await?;
    Ok(Json(Empty {}))
}
