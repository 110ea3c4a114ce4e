//! `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`, and the older form of it

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use replication::resident::Resident;
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::extract::{Path, Query, json_bytes};
use crate::federation::error::FederationResult;
use crate::federation::signed::Signed;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    #[serde(default)]
    omit_members: bool,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
pub(crate) async fn send_join(
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    Query(parameters): Query<Parameters>,
    State(resident): State<Arc<Resident>>,
    server: Signed<Box<RawValue>>,
) -> FederationResult<Response> {
    let names = (&*room_id, &*event_id);
    let joined = resident.accept_join(&server.origin, names, &server.body, parameters.omit_members).await?;
    Ok(json_bytes(Body::from_stream(joined.into_pieces())))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_joinroomideventid>
pub(crate) async fn send_join_v1(
    Path((room_id, event_id)): Path<(OwnedRoomId, OwnedEventId)>,
    State(resident): State<Arc<Resident>>,
    server: Signed<Box<RawValue>>,
) -> FederationResult<Response> {
    let joined = resident.accept_join(&server.origin, (&*room_id, &*event_id), &server.body, false).await?;
    let around = |text: &'static [u8]| stream::iter([Ok(Bytes::from_static(text))]);
    Ok(json_bytes(Body::from_stream(around(b"[200,").chain(joined.into_pieces()).chain(around(b"]")))))
}
