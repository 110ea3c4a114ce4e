//! `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`, `…/rooms/{roomId}/report`, `…/users/{userId}/report`

use std::sync::Arc;

use axum::extract::State;
use rooms::reports::{Complaint, Reports};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::Deserialize;

use crate::Empty;
use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{Authenticated, Json, Path};

#[derive(Deserialize)]
pub(crate) struct Body {
    reason: Option<String>,
    score: Option<i64>,
}

impl Body {
    fn complaint(self) -> Complaint {
        Complaint { reason: self.reason, score: self.score }
    }

    /// A room or a user is reported with a reason, which may be empty.
    fn complaint_with_reason(self) -> ClientResult<Complaint> {
        match self.reason {
            None => Err(ApiError::bad_json("reason: missing field").into()),
            Some(_) => Ok(self.complaint()),
        }
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid>
pub(crate) async fn event(
    Authenticated(requester): Authenticated,
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    State(reports): State<Arc<Reports>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Empty>> {
    reports.report_event(&requester, &room_id, &event_id, body.complaint()).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport>
pub(crate) async fn room(
    Authenticated(requester): Authenticated,
    Path(room_id): Path<OwnedRoomId>,
    State(reports): State<Arc<Reports>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Empty>> {
    reports.report_room(&requester, &room_id, body.complaint_with_reason()?).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport>
pub(crate) async fn user(
    Authenticated(requester): Authenticated,
    Path(user_id): Path<OwnedUserId>,
    State(reports): State<Arc<Reports>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Empty>> {
    reports.report_user(&requester, &user_id, body.complaint_with_reason()?).await?;
    Ok(Json(Empty {}))
}
