//! `GET /_matrix/client/v3/admin/whois/{userId}`, also at Synapse's path

use std::collections::BTreeMap;
use std::sync::Arc;

use accounts::moderation::{Device, Moderation};
use axum::extract::State;
use ruma::OwnedUserId;
use serde::Serialize;

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Path};

#[derive(Serialize)]
pub(crate) struct WhoIs {
    user_id: OwnedUserId,
    devices: BTreeMap<String, DeviceInfo>,
}

#[derive(Serialize)]
struct DeviceInfo {
    sessions: [SessionInfo; 1],
}

#[derive(Serialize)]
struct SessionInfo {
    connections: Vec<ConnectionInfo>,
}

#[derive(Serialize)]
struct ConnectionInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    last_seen: i64,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid>
pub(crate) async fn whois(
    Authenticated(requester): Authenticated,
    Path(user_id): Path<OwnedUserId>,
    State(moderation): State<Arc<Moderation>>,
) -> ClientResult<Json<WhoIs>> {
    let devices = moderation.devices(&requester, &user_id).await?;
    Ok(Json(WhoIs { user_id, devices: devices.into_iter().map(info).collect() }))
}

fn info(device: Device) -> (String, DeviceInfo) {
    let Device { device_id, last_seen_at, last_seen_address: ip, .. } = device;
    let connections = last_seen_at.map(|at| ConnectionInfo { ip, last_seen: at.0 }).into_iter().collect();
    (device_id, DeviceInfo { sessions: [SessionInfo { connections }] })
}
