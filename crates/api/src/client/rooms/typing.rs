//! `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use ruma::OwnedRoomId;
use serde::Deserialize;
use sync::presence::Presences;
use sync::typing::{Typing, TypingError};

use crate::Empty;
use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{GuestOrUser, Json, OwnUser, Unsuspended};

#[derive(Deserialize, Debug)]
pub(crate) struct Body {
    typing: bool,
    /// In milliseconds.
    timeout: Option<u64>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid>
pub(crate) async fn typing(
    OwnUser(Unsuspended(GuestOrUser(requester)), room_id): OwnUser<Unsuspended<GuestOrUser>, OwnedRoomId>,
    State(typing): State<Arc<Typing>>,
    State(presences): State<Arc<Presences>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Empty>> {
    presences.act(&requester);
    let timeout = body.typing.then_some(body.timeout.map(Duration::from_millis));
    typing.set(&requester, &room_id, timeout).await?;
    Ok(Json(Empty {}))
}

impl From<TypingError> for ClientError {
    fn from(error: TypingError) -> Self {
        Self(match error {
            TypingError::NotInRoom => ApiError::forbidden(error.to_string()),
            TypingError::Storage(error) => error.into(),
        })
    }
}
