//! `/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`

use std::sync::Arc;

use accounts::account_data::AccountData;
use axum::extract::State;
use axum::response::Response;
use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::value::RawValue;

use super::{bytes_of, check_owner};
use crate::Empty;
use crate::error::ApiResult;
use crate::extract::{Authenticated, Content, Json, Path, json_bytes};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype>
pub(crate) async fn read_room(
    Authenticated(requester): Authenticated,
    Path((user_id, room_id, data_type)): Path<(OwnedUserId, OwnedRoomId, String)>,
    State(account_data): State<Arc<AccountData>>,
) -> ApiResult<Response> {
    check_owner(&requester, &user_id)?;
    Ok(json_bytes(account_data.content(requester.user_sn, Some(&room_id), &data_type).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype>
pub(crate) async fn set_room(
    Authenticated(requester): Authenticated,
    Path((user_id, room_id, data_type)): Path<(OwnedUserId, OwnedRoomId, String)>,
    State(account_data): State<Arc<AccountData>>,
    Content(content): Content<Box<RawValue>>,
) -> ApiResult<Json<Empty>> {
    check_owner(&requester, &user_id)?;
    account_data.set(requester.user_sn, Some(&room_id), data_type, bytes_of(content)).await?;
    Ok(Json(Empty {}))
}
