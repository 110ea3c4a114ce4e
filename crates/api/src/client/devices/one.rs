//! `GET` and `PUT /_matrix/client/v3/devices/{deviceId}`

use std::sync::Arc;

use accounts::devices::Devices;
use axum::extract::State;
use serde::Deserialize;

use super::DeviceEntry;
use crate::Empty;
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Json, Path};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid>
pub(crate) async fn read(
    GuestOrUser(requester): GuestOrUser,
    Path(device_id): Path<String>,
    State(devices): State<Arc<Devices>>,
) -> ClientResult<Json<DeviceEntry>> {
    Ok(Json(devices.one(requester.user_sn, &device_id).await?.into()))
}

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    display_name: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid>
pub(crate) async fn rename(
    GuestOrUser(requester): GuestOrUser,
    Path(device_id): Path<String>,
    State(devices): State<Arc<Devices>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Empty>> {
    match body.display_name {
        Some(name) => devices.rename(requester.user_sn, device_id, Some(name)).await?,
        // Nothing is to be changed, but the device must exist.
        None => drop(devices.one(requester.user_sn, &device_id).await?),
    }
    Ok(Json(Empty {}))
}
