//! `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`

use std::sync::Arc;

use axum::extract::State;
use rooms::Sending;
use ruma::{OwnedEventId, OwnedRoomId};
use serde_json::value::RawValue;

use super::send::EventAnswer;
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Content, Json, Path, TransactionId};

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid>
pub(crate) async fn redact(
    Authenticated(requester): Authenticated,
    Path((room_id, event_id, transaction_id)): Path<(OwnedRoomId, OwnedEventId, TransactionId)>,
    State(sending): State<Arc<Sending>>,
    Content(content): Content<Box<RawValue>>,
) -> ClientResult<Json<EventAnswer>> {
    let event_id = sending.redact(&requester, &room_id, &event_id, &content, &transaction_id).await?;
    Ok(Json(EventAnswer { event_id }))
}
