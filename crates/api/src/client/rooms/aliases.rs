//! `GET /_matrix/client/v3/rooms/{roomId}/aliases`

use std::sync::Arc;

use axum::extract::State;
use rooms::Aliases;
use ruma::OwnedRoomId;
use serde::Serialize;

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Path};

#[derive(Serialize)]
pub(crate) struct AliasesAnswer {
    aliases: Vec<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases>
pub(crate) async fn list(
    Authenticated(requester): Authenticated,
    Path(room_id): Path<OwnedRoomId>,
    State(aliases): State<Arc<Aliases>>,
) -> ClientResult<Json<AliasesAnswer>> {
    Ok(Json(AliasesAnswer { aliases: aliases.of_room(&requester, &room_id).await? }))
}
