//! `/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags…`

use std::sync::Arc;

use accounts::tags::{TagError, Tags};
use axum::extract::State;
use ruma::OwnedRoomId;
use serde_json::{Map, Value};

use crate::Empty;
use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{Authenticated, Json, OwnUser};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags>
pub(super) async fn list(
    OwnUser(Authenticated(requester), room_id): OwnUser<Authenticated, OwnedRoomId>,
    State(tags): State<Arc<Tags>>,
) -> ClientResult<Json<Value>> {
    Ok(Json(tags.of_room(requester.user_sn, &room_id).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag>
pub(super) async fn set(
    OwnUser(Authenticated(requester), (room_id, tag)): OwnUser<Authenticated, (OwnedRoomId, String)>,
    State(tags): State<Arc<Tags>>,
    Json(properties): Json<Map<String, Value>>,
) -> ClientResult<Json<Empty>> {
    tags.set(requester.user_sn, &room_id, tag, properties).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag>
pub(super) async fn remove(
    OwnUser(Authenticated(requester), (room_id, tag)): OwnUser<Authenticated, (OwnedRoomId, String)>,
    State(tags): State<Arc<Tags>>,
) -> ClientResult<Json<Empty>> {
    tags.remove(requester.user_sn, &room_id, tag).await?;
    Ok(Json(Empty {}))
}

impl From<TagError> for ClientError {
    fn from(error: TagError) -> Self {
        let sentence = error.to_string();
        Self(match error {
            TagError::NoSuchRoom => ApiError::not_found(sentence),
            TagError::InvalidTag | TagError::TooMany => ApiError::invalid_param(sentence),
            TagError::InvalidProperties(_) => ApiError::bad_json(sentence),
            TagError::Storage(error) => error.into(),
        })
    }
}
