//! `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`

use std::sync::Arc;

use axum::extract::State;
use rooms::Sending;
use ruma::OwnedRoomId;
use serde::Serialize;
use serde_json::value::RawValue;
use sync::presence::Presences;

use crate::client::error::ClientResult;
use crate::extract::{Content, EventType, GuestOrUser, Json, Path, TransactionId, Unsuspended};

#[derive(Serialize)]
pub(crate) struct EventAnswer {
    pub(super) event_id: Box<str>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid>
pub(crate) async fn send(
    Unsuspended(GuestOrUser(requester)): Unsuspended<GuestOrUser>,
    Path((room_id, event_type, transaction_id)): Path<(OwnedRoomId, EventType, TransactionId)>,
    State(sending): State<Arc<Sending>>,
    State(presences): State<Arc<Presences>>,
    Content(content): Content<Box<RawValue>>,
) -> ClientResult<Json<EventAnswer>> {
    presences.act(&requester);
    let event_id = sending.send(&requester, &room_id, &event_type, &content, &transaction_id).await?;
    Ok(Json(EventAnswer { event_id }))
}
