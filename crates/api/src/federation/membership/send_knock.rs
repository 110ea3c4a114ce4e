//! `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use replication::resident::Resident;
use rooms::wire::write_list;
use ruma::{OwnedEventId, OwnedRoomId};
use serde_json::value::RawValue;

use crate::extract::{Path, json_bytes};
use crate::federation::error::FederationResult;
use crate::federation::signed::Signed;

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid>
pub(crate) async fn send_knock(
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    State(resident): State<Arc<Resident>>,
    server: Signed<Box<RawValue>>,
) -> FederationResult<Response> {
    let state = resident.accept_knock(&server.origin, (&*room_id, &*event_id), &server.body).await?;
    let mut out = b"{\"knock_room_state\":".to_vec();
    write_list(&mut out, &state, |out, event| out.extend_from_slice(event));
    out.push(b'}');
    Ok(json_bytes(out))
}
