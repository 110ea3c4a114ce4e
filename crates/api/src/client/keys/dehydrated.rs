//! `/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/3814>

use std::sync::Arc;

use accounts::devices::Devices;
use accounts::sessions::Requester;
use axum::extract::State;
use bytes::Bytes;
use encryption::keys::{DehydratedDeviceUpload, Keys};
use encryption::to_device::ToDevice;
use event_log::tokens::{parse_token, sync_token};
use homeserver_core::Position;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::client::error::ClientResult;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Authenticated, Json, Path, Query};

#[derive(Serialize)]
pub(crate) struct DeviceId {
    device_id: String,
}

#[derive(Serialize)]
pub(crate) struct Dehydrated {
    device_id: String,
    device_data: Box<RawValue>,
}

/// Where the messages go on.
#[derive(Deserialize)]
pub(crate) struct Continuation {
    next_batch: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Events {
    events: Vec<Box<RawValue>>,
    next_batch: String,
}

pub(crate) async fn put(
    Authenticated(requester): Authenticated,
    State(keys): State<Arc<Keys>>,
    Json(body): Json<DehydratedDeviceUpload>,
) -> ClientResult<Json<DeviceId>> {
    let device_id = keys.put_dehydrated_device(&requester, body).await?;
    Ok(Json(DeviceId { device_id }))
}

pub(crate) async fn read(
    Authenticated(requester): Authenticated,
    State(keys): State<Arc<Keys>>,
) -> ClientResult<Json<Dehydrated>> {
    let device = keys.dehydrated_device(&requester).await?.ok_or_else(none)?;
    Ok(Json(Dehydrated { device_id: device.device_id, device_data: raw(&device.device_data)? }))
}

pub(crate) async fn delete(
    Authenticated(requester): Authenticated,
    State(keys): State<Arc<Keys>>,
    State(devices): State<Arc<Devices>>,
) -> ClientResult<Json<DeviceId>> {
    let device_id = keys.dehydrated_device(&requester).await?.ok_or_else(none)?.device_id;
    devices.delete(requester.user_sn, vec![device_id.clone()]).await?;
    Ok(Json(DeviceId { device_id }))
}

/// As clients in use ask for it.
pub(crate) async fn events(
    Authenticated(requester): Authenticated,
    Path(device_id): Path<String>,
    State(keys): State<Arc<Keys>>,
    State(to_device): State<Arc<ToDevice>>,
    Json(from): Json<Continuation>,
) -> ClientResult<Json<Events>> {
    read_events(&requester, &device_id, &keys, &to_device, from).await
}

/// As the proposal has it now.
pub(crate) async fn events_by_query(
    Authenticated(requester): Authenticated,
    Path(device_id): Path<String>,
    Query(from): Query<Continuation>,
    State(keys): State<Arc<Keys>>,
    State(to_device): State<Arc<ToDevice>>,
) -> ClientResult<Json<Events>> {
    read_events(&requester, &device_id, &keys, &to_device, from).await
}

/// The messages stay: a client that does not come to the end begins again.
async fn read_events(
    requester: &Requester,
    device_id: &str,
    keys: &Keys,
    to_device: &ToDevice,
    from: Continuation,
) -> ClientResult<Json<Events>> {
    let device = keys.dehydrated_device(requester).await?.filter(|device| device.device_id == device_id);
    let device = device.ok_or_else(|| ApiError::forbidden("This is not the device that is kept for you"))?;
    let unknown = || ApiError::invalid_param("next_batch: this is not a token of this endpoint");
    let after = from.next_batch.map(|token| parse_token(&token).ok_or_else(unknown)).transpose()?;
    let (delivery, end) = to_device.kept_messages(device.device_sn, after.unwrap_or(Position::START)).await?;
    let events: ApiResult<Vec<Box<RawValue>>> = delivery.events.iter().map(raw).collect();
    Ok(Json(Events { events: events?, next_batch: sync_token(end) }))
}

fn none() -> ApiError {
    ApiError::not_found("No device is kept for you")
}

/// What was checked when it was stored.
fn raw(json: &Bytes) -> ApiResult<Box<RawValue>> {
    serde_json::from_slice(json).map_err(|error| ApiError::internal("Reading what is kept for a device", &error))
}
