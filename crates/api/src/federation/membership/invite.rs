//! `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`, and the older form of it

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use replication::memberships::{ReceivedInvite, SharedMemberships};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::extract::{Path, json_bytes};
use crate::federation::error::FederationResult;
use crate::federation::signed::Signed;

/// The largest request: the event, and state that introduces the room.
const LIMIT_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
pub(crate) struct Body {
    room_version: String,
    event: Box<RawValue>,
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

/// What the older form has in the event.
#[derive(Deserialize)]
struct OlderEvent {
    #[serde(default)]
    unsigned: OlderUnsigned,
}

#[derive(Default, Deserialize)]
struct OlderUnsigned {
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid>
pub(crate) async fn invite(
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    State(memberships): State<Arc<SharedMemberships>>,
    server: Signed<Body, LIMIT_BYTES>,
) -> FederationResult<Response> {
    let Body { room_version, event, invite_room_state } = &server.body;
    let invite =
        ReceivedInvite { room_id: &room_id, event_id: &event_id, room_version, event, state: invite_room_state };
    let signed = memberships.receive_invite(&server.origin, &invite).await?;
    Ok(json_bytes([b"{\"event\":", &*signed, b"}"].concat()))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid>
pub(crate) async fn invite_v1(
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    State(memberships): State<Arc<SharedMemberships>>,
    server: Signed<Box<RawValue>, LIMIT_BYTES>,
) -> FederationResult<Response> {
    let event = &server.body;
    let older: OlderEvent = serde_json::from_str(event.get())
        .map_err(|error| ApiError::bad_json(format!("The event cannot be read: {error}")))?;
    // In the rooms that this form is for. Version 2 has events of the same form.
    let room_version = "1";
    let state = &older.unsigned.invite_room_state;
    let invite = ReceivedInvite { room_id: &room_id, event_id: &event_id, room_version, event, state };
    let signed = memberships.receive_invite(&server.origin, &invite).await?;
    Ok(json_bytes([b"[200,{\"event\":", &*signed, b"}]"].concat()))
}
