//! `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use sync::presence::Presences;
use sync::typing::{Typing, TypingError};

use crate::Empty;
use crate::error::{ApiError, ApiResult};
use crate::extract::{GuestOrUser, Json, Path};

#[derive(Deserialize, Debug)]
pub(crate) struct Body {
    typing: bool,
    /// In milliseconds.
    timeout: Option<u64>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid>
pub(crate) async fn typing(
    GuestOrUser(requester): GuestOrUser,
    Path((room_id, user_id)): Path<(OwnedRoomId, OwnedUserId)>,
    State(typing): State<Arc<Typing>>,
    State(presences): State<Arc<Presences>>,
    Json(body): Json<Body>,
) -> ApiResult<Json<Empty>> {
    if requester.user_id != user_id {
        return Err(ApiError::forbidden("You can say only of yourself that you are typing"));
    }
    presences.act(&requester);
    let timeout = body.typing.then_some(body.timeout.map(Duration::from_millis));
    typing.set(&requester, &room_id, timeout).await?;
    Ok(Json(Empty {}))
}

impl From<TypingError> for ApiError {
    fn from(error: TypingError) -> Self {
        match error {
            TypingError::NotInRoom => Self::forbidden(error.to_string()),
            TypingError::Storage(error) => error.into(),
        }
    }
}
