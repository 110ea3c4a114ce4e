//! `GET /_matrix/federation/v1/timestamp_to_event/…`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use homeserver_core::Timestamp;
use rooms::serving::{Serving, TimeDirection};
use ruma::OwnedRoomId;
use serde::Deserialize;

use super::error::FederationResult;
use super::from_server::FromServer;
use crate::extract::{Path, Query, json_bytes};

#[derive(Deserialize)]
pub(crate) struct Parameters {
    pub(crate) ts: u64,
    pub(crate) dir: DirectionParameter,
}

/// A direction in time.
#[derive(Clone, Copy, Deserialize, Debug)]
pub(crate) enum DirectionParameter {
    #[serde(rename = "b")]
    Backwards,
    #[serde(rename = "f")]
    Forwards,
}

impl From<DirectionParameter> for TimeDirection {
    fn from(direction: DirectionParameter) -> Self {
        match direction {
            DirectionParameter::Backwards => Self::Backwards,
            DirectionParameter::Forwards => Self::Forwards,
        }
    }
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid>
pub(crate) async fn timestamp_to_event(
    server: FromServer,
    Path(room_id): Path<OwnedRoomId>,
    Query(Parameters { ts, dir }): Query<Parameters>,
    State(serving): State<Arc<Serving>>,
) -> FederationResult<Response> {
    Ok(json_bytes(
        serving
            .event_at_time(&server.origin, &room_id, Timestamp(i64::try_from(ts).unwrap_or(i64::MAX)), dir.into())
            .await?,
    ))
}
