//! `DELETE /_matrix/client/v3/devices/{deviceId}` and `POST /_matrix/client/v3/delete_devices`

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use services::devices::Devices;
use services::uia::{Auth, Operation, Stage, UserInteractiveAuth};

use crate::Empty;
use crate::error::ApiResult;
use crate::extract::{Authenticated, Json, Object, Path};

#[derive(Deserialize)]
pub(crate) struct OneBody {
    #[serde(default)]
    auth: Option<Object<Auth>>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid>
pub(crate) async fn delete_one(
    Authenticated(requester): Authenticated,
    Path(device_id): Path<String>,
    State(devices): State<Arc<Devices>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<OneBody>,
) -> ApiResult<Json<Empty>> {
    let name = operation_name(std::slice::from_ref(&device_id));
    let operation = Operation { name: &name, requester: Some(&requester), flows: &[&[Stage::Password]] };
    user_interactive_auth.authorise(operation, body.auth.as_ref().map(|auth| &auth.0)).await?;
    devices.delete(requester.user_sn, vec![device_id]).await?;
    Ok(Json(Empty {}))
}

#[derive(Deserialize)]
pub(crate) struct ManyBody {
    devices: Vec<String>,
    #[serde(default)]
    auth: Option<Object<Auth>>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices>
pub(crate) async fn delete_many(
    Authenticated(requester): Authenticated,
    State(devices): State<Arc<Devices>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<ManyBody>,
) -> ApiResult<Json<Empty>> {
    let name = operation_name(&body.devices);
    let operation = Operation { name: &name, requester: Some(&requester), flows: &[&[Stage::Password]] };
    user_interactive_auth.authorise(operation, body.auth.as_ref().map(|auth| &auth.0)).await?;
    devices.delete(requester.user_sn, body.devices).await?;
    Ok(Json(Empty {}))
}

/// What was authorised for some devices is not authorised for others.
fn operation_name(device_ids: &[String]) -> String {
    format!("delete devices {device_ids:?}")
}
