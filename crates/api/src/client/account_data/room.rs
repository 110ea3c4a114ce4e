//! `/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`

use std::sync::Arc;

use accounts::account_data::AccountData;
use axum::extract::State;
use axum::response::Response;
use ruma::OwnedRoomId;
use serde_json::value::RawValue;

use super::bytes_of;
use crate::Empty;
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Content, Json, OwnUser, json_bytes};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype>
pub(crate) async fn read_room(
    OwnUser(Authenticated(requester), (room_id, data_type)): OwnUser<Authenticated, (OwnedRoomId, String)>,
    State(account_data): State<Arc<AccountData>>,
) -> ClientResult<Response> {
    Ok(json_bytes(account_data.content(requester.user_sn, Some(&room_id), &data_type).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype>
pub(crate) async fn set_room(
    OwnUser(Authenticated(requester), (room_id, data_type)): OwnUser<Authenticated, (OwnedRoomId, String)>,
    State(account_data): State<Arc<AccountData>>,
    Content(content): Content<Box<RawValue>>,
) -> ClientResult<Json<Empty>> {
    account_data.set(requester.user_sn, Some(&room_id), data_type, bytes_of(content)).await?;
    Ok(Json(Empty {}))
}
