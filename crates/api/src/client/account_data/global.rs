//! `/_matrix/client/v3/user/{userId}/account_data/{type}`

use std::sync::Arc;

use accounts::account_data::AccountData;
use axum::extract::State;
use axum::response::Response;
use serde_json::value::RawValue;

use super::bytes_of;
use crate::Empty;
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Content, Json, OwnUser, json_bytes};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype>
pub(crate) async fn read_global(
    OwnUser(Authenticated(requester), data_type): OwnUser<Authenticated, String>,
    State(account_data): State<Arc<AccountData>>,
) -> ClientResult<Response> {
    Ok(json_bytes(account_data.content(requester.user_sn, None, &data_type).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype>
pub(crate) async fn set_global(
    OwnUser(Authenticated(requester), data_type): OwnUser<Authenticated, String>,
    State(account_data): State<Arc<AccountData>>,
    Content(content): Content<Box<RawValue>>,
) -> ClientResult<Json<Empty>> {
    account_data.set(requester.user_sn, None, data_type, bytes_of(content)).await?;
    Ok(Json(Empty {}))
}
