//! `GET /_matrix/client/v3/devices`

use std::sync::Arc;

use accounts::devices::Devices;
use axum::extract::State;
use serde::Serialize;

use super::DeviceEntry;
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Json};

#[derive(Serialize)]
pub(crate) struct List {
    devices: Vec<DeviceEntry>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices>
pub(crate) async fn list(
    GuestOrUser(requester): GuestOrUser,
    State(devices): State<Arc<Devices>>,
) -> ClientResult<Json<List>> {
    let devices = devices.all(requester.user_sn).await?;
    Ok(Json(List { devices: devices.into_iter().map(DeviceEntry::from).collect() }))
}
