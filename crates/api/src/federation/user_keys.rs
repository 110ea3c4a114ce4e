//! `/_matrix/federation/v1/user/…`: the devices and keys of this server's users.

use std::sync::Arc;

use axum::extract::State;
use encryption::keys::{ClaimedForServer, Keys, KeysForServer, UserDevices, WantedDevices, WantedKeys};
use ruma::OwnedUserId;
use serde::Deserialize;

use super::error::FederationResult;
use super::from_server::FromServer;
use super::signed::Signed;
use crate::error::ApiError;
use crate::extract::{Json, Path};

#[derive(Deserialize)]
pub(crate) struct Query {
    device_keys: WantedDevices,
}

#[derive(Deserialize)]
pub(crate) struct Claim {
    one_time_keys: WantedKeys,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>
pub(crate) async fn devices(
    _: FromServer,
    Path(user_id): Path<OwnedUserId>,
    State(keys): State<Arc<Keys>>,
) -> FederationResult<Json<UserDevices>> {
    let devices = keys.devices_for_server(&user_id).await?;
    Ok(Json(devices.ok_or_else(|| ApiError::not_found("userId: this server has no such user"))?))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery>
pub(crate) async fn query(
    State(keys): State<Arc<Keys>>,
    Signed { body, .. }: Signed<Query>,
) -> FederationResult<Json<KeysForServer>> {
    Ok(Json(keys.query_for_server(body.device_keys).await?))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim>
pub(crate) async fn claim(
    State(keys): State<Arc<Keys>>,
    Signed { body, .. }: Signed<Claim>,
) -> FederationResult<Json<ClaimedForServer>> {
    Ok(Json(keys.claim_for_server(body.one_time_keys).await?))
}
