//! `POST /_matrix/federation/v1/get_missing_events/…`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::serving::{MissingEvents, Serving};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use super::error::FederationResult;
use super::signed::Signed;
use crate::extract::{Path, json_bytes};

/// The events of an answer, if the server names no limit.
const DEFAULT_LIMIT: usize = 10;

#[derive(Deserialize)]
pub(crate) struct Body {
    earliest_events: Vec<OwnedEventId>,
    latest_events: Vec<OwnedEventId>,
    limit: Option<usize>,
    #[serde(default)]
    min_depth: i64,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid>
pub(crate) async fn missing_events(
    Path(room_id): Path<OwnedRoomId>,
    State(serving): State<Arc<Serving>>,
    Signed { origin, body, .. }: Signed<Body>,
) -> FederationResult<Response> {
    let Body { earliest_events: earliest, latest_events: latest, limit, min_depth } = body;
    let request = MissingEvents { earliest, latest, limit: limit.unwrap_or(DEFAULT_LIMIT), min_depth };
    Ok(json_bytes(serving.missing_events(&origin, &room_id, &request).await?))
}
