//! `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`, also without a state key

use std::sync::Arc;

use axum::extract::State;
use rooms::Sending;
use ruma::OwnedRoomId;
use serde_json::value::RawValue;

use super::send::EventAnswer;
use crate::client::error::ClientResult;
use crate::extract::{Content, EventType, GuestOrUser, Json, Path, StateKey, Unsuspended};

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey>
pub(crate) async fn set(
    Unsuspended(GuestOrUser(requester)): Unsuspended<GuestOrUser>,
    Path((room_id, event_type, state_key)): Path<(OwnedRoomId, EventType, StateKey)>,
    State(sending): State<Arc<Sending>>,
    Content(content): Content<Box<RawValue>>,
) -> ClientResult<Json<EventAnswer>> {
    let event_id = sending.set_state(&requester, &room_id, &event_type, &state_key, &content).await?;
    Ok(Json(EventAnswer { event_id: event_id.as_str().into() }))
}

/// The same with the empty state key.
pub(crate) async fn set_without_key(
    requester: Unsuspended<GuestOrUser>,
    Path((room_id, event_type)): Path<(OwnedRoomId, EventType)>,
    sending: State<Arc<Sending>>,
    content: Content<Box<RawValue>>,
) -> ClientResult<Json<EventAnswer>> {
    set(requester, Path((room_id, event_type, StateKey::default())), sending, content).await
}
