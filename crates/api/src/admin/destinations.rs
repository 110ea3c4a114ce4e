//! `/_synapse/admin/v1/federation/destinations…`: the servers that are sent something.

use std::sync::Arc;

use axum::extract::State;
use replication::outbox::{DestinationStatus, Destinations, PageRequest};
use ruma::OwnedServerName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::admin::error::AdminResult;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Administrator, Json, Path, Query};

/// Entries of a page when the client does not say.
const DEFAULT_LIMIT: u32 = 100;

#[derive(Deserialize)]
pub(super) struct Parameters {
    from: Option<u32>,
    limit: Option<u32>,
    /// A part of the names.
    destination: Option<String>,
    order_by: Option<String>,
    dir: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Page {
    destinations: Vec<Destination>,
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// Times are in milliseconds since 1970, intervals in milliseconds; 0 if the server was reached.
#[derive(Serialize)]
pub(super) struct Destination {
    destination: String,
    retry_last_ts: i64,
    retry_interval: u64,
    failure_ts: Option<i64>,
    last_successful_stream_ordering: i64,
}

#[derive(Serialize)]
pub(super) struct Rooms {
    rooms: Vec<Room>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
struct Room {
    room_id: String,
    stream_ordering: i64,
}

/// The destinations, by their names.
pub(super) async fn list(
    _: Administrator,
    State(destinations): State<Arc<Destinations>>,
    Query(parameters): Query<Parameters>,
) -> AdminResult<Json<Page>> {
    if parameters.order_by.as_deref().is_some_and(|order| order != "destination") {
        let sentence = "order_by: this server lists destinations by destination only";
        return Err(ApiError::invalid_param(sentence).into());
    }
    let request = PageRequest {
        containing: parameters.destination.as_deref().unwrap_or_default(),
        from: parameters.from.unwrap_or_default(),
        limit: parameters.limit.unwrap_or(DEFAULT_LIMIT),
        is_backwards: is_backwards(parameters.dir.as_deref())?,
    };
    let page = destinations.page(request).await?;
    let next_token = page.next.map(|next| next.to_string());
    let destinations = page.destinations.into_iter().map(Destination::from).collect();
    Ok(Json(Page { destinations, total: page.total, next_token }))
}

/// One destination.
pub(super) async fn one(
    _: Administrator,
    State(destinations): State<Arc<Destinations>>,
    Path(destination): Path<OwnedServerName>,
) -> AdminResult<Json<Destination>> {
    Ok(Json(known(&destinations, &destination).await?.into()))
}

/// The rooms that are or were shared with a destination.
pub(super) async fn rooms(
    _: Administrator,
    State(destinations): State<Arc<Destinations>>,
    Path(destination): Path<OwnedServerName>,
    Query(parameters): Query<Parameters>,
) -> AdminResult<Json<Rooms>> {
    known(&destinations, &destination).await?;
    let mut all = destinations.rooms(&destination).await?;
    if is_backwards(parameters.dir.as_deref())? {
        all.reverse();
    }
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let (from, limit) = (count(parameters.from.unwrap_or_default()), count(parameters.limit.unwrap_or(DEFAULT_LIMIT)));
    let total = all.len();
    let room = |(room_id, last): (String, homeserver_core::Position)| Room { room_id, stream_ordering: last.0 };
    let rooms: Vec<Room> = all.into_iter().skip(from).take(limit).map(room).collect();
    let next = from.saturating_add(rooms.len());
    let next_token = (next < total && !rooms.is_empty()).then(|| next.to_string());
    Ok(Json(Rooms { rooms, total, next_token }))
}

/// Has a destination tried again at once that is left alone because it was not reached.
pub(super) async fn reset_connection(
    _: Administrator,
    State(destinations): State<Arc<Destinations>>,
    Path(destination): Path<OwnedServerName>,
) -> AdminResult<Json<Map<String, Value>>> {
    if known(&destinations, &destination).await?.failing.is_none() {
        return Err(ApiError::unknown("The destination was reached, so there is nothing to reset").into());
    }
    destinations.reset_connection(&destination).await;
    Ok(Json(Map::new()))
}

async fn known(destinations: &Destinations, server: &OwnedServerName) -> ApiResult<DestinationStatus> {
    let unknown = || ApiError::not_found("This server shares no room with the destination, and never has");
    destinations.one(server).await?.ok_or_else(unknown)
}

fn is_backwards(direction: Option<&str>) -> ApiResult<bool> {
    match direction {
        None | Some("f") => Ok(false),
        Some("b") => Ok(true),
        Some(_) => Err(ApiError::invalid_param("dir: f or b is expected")),
    }
}

impl From<DestinationStatus> for Destination {
    fn from(status: DestinationStatus) -> Self {
        let failing = status.failing;
        let millis = |pause: std::time::Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        Self {
            destination: status.server_name,
            retry_last_ts: failing.map_or(0, |failing| failing.last_attempt_at.0),
            retry_interval: failing.map_or(0, |failing| millis(failing.pause)),
            failure_ts: failing.map(|failing| failing.since.0),
            last_successful_stream_ordering: status.sent_up_to.0,
        }
    }
}
