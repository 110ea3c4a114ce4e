//! `GET /_matrix/client/v1/mutual_rooms`

use std::sync::Arc;

use axum::extract::State;
use rooms::mutual_rooms::{MutualRooms, MutualRoomsPage};
use ruma::OwnedUserId;
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{Authenticated, Json, Query};

#[derive(Deserialize, Debug)]
pub(super) struct Parameters {
    user_id: Option<String>,
    from: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms>
pub(super) async fn mutual_rooms(
    Authenticated(requester): Authenticated,
    Query(parameters): Query<Parameters>,
    State(mutual_rooms): State<Arc<MutualRooms>>,
) -> ClientResult<Json<MutualRoomsPage>> {
    // A user ID that is missing and one that is none are the same error here.
    let user_id = parameters.user_id.and_then(|user_id| OwnedUserId::try_from(user_id).ok());
    let user_id = user_id.ok_or_else(|| ApiError::invalid_param("user_id: must be the ID of a user"))?;
    Ok(Json(mutual_rooms.page(&requester, &user_id, parameters.from.as_deref()).await?))
}
