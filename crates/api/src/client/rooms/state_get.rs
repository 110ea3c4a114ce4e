//! `GET /_matrix/client/v3/rooms/{roomId}/state`, of all of it, or of one type and state key

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::reading::{RoomState, StateFormat};
use ruma::OwnedRoomId;
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Path, Query, json_bytes};

#[derive(Deserialize, Debug)]
pub(crate) struct Parameters {
    #[serde(default)]
    format: FormatParameter,
}

#[derive(Clone, Copy, Default, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum FormatParameter {
    #[default]
    Content,
    Event,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate>
pub(crate) async fn all(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    State(room_state): State<Arc<RoomState>>,
) -> ClientResult<Response> {
    Ok(json_bytes(room_state.all(&requester, &room_id).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey>
pub(crate) async fn one(
    GuestOrUser(requester): GuestOrUser,
    Path((room_id, event_type, state_key)): Path<(OwnedRoomId, String, String)>,
    Query(parameters): Query<Parameters>,
    State(room_state): State<Arc<RoomState>>,
) -> ClientResult<Response> {
    let format = match parameters.format {
        FormatParameter::Content => StateFormat::Content,
        FormatParameter::Event => StateFormat::Event,
    };
    Ok(json_bytes(room_state.one(&requester, &room_id, &event_type, &state_key, format).await?))
}

/// The same with the empty state key.
pub(crate) async fn one_without_key(
    requester: GuestOrUser,
    Path((room_id, event_type)): Path<(OwnedRoomId, String)>,
    parameters: Query<Parameters>,
    room_state: State<Arc<RoomState>>,
) -> ClientResult<Response> {
    one(requester, Path((room_id, event_type, String::new())), parameters, room_state).await
}
