//! `DELETE /_matrix/client/v3/devices/{deviceId}` and `POST /_matrix/client/v3/delete_devices`

use std::collections::BTreeSet;
use std::sync::Arc;

use accounts::asking::Asker;
use accounts::devices::Devices;
use accounts::sessions::Requester;
use accounts::uia::{Asked, Auth, Operation, Parameters, UserInteractiveAuth};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::client::error::ClientResult;
use crate::error::ApiError;
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
) -> ClientResult<Json<Empty>> {
    delete(&devices, &user_interactive_auth, &requester, Some(vec![device_id]), body.auth).await
}

#[derive(Deserialize)]
pub(crate) struct ManyBody {
    /// Needed in the first request.
    #[serde(default)]
    devices: Option<Vec<String>>,
    #[serde(default)]
    auth: Option<Object<Auth>>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices>
pub(crate) async fn delete_many(
    Authenticated(requester): Authenticated,
    State(devices): State<Arc<Devices>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<ManyBody>,
) -> ClientResult<Json<Empty>> {
    if body.devices.is_none() && body.auth.is_none() {
        return Err(ApiError::bad_json("devices: missing field").into());
    }
    delete(&devices, &user_interactive_auth, &requester, body.devices, body.auth).await
}

/// The devices to be deleted, of those that the user has.
#[derive(Clone, Default, Serialize, Deserialize)]
struct DeletedDevices {
    #[serde(default)]
    devices: Option<BTreeSet<String>>,
}

impl Parameters for DeletedDevices {
    /// What was authorised for some devices is not authorised for others.
    fn complete(self, before: Self) -> Option<Self> {
        match (self.devices, before.devices) {
            (Some(now), Some(before)) if !now.is_subset(&before) => None,
            (now, before) => Some(Self { devices: now.or(before) }),
        }
    }

    /// The user has none of them any more.
    fn repeat(&self, done: &Self) -> bool {
        let wanted = self.devices.as_ref().is_none_or(BTreeSet::is_empty);
        wanted || self.devices == done.devices
    }
}

async fn delete(
    devices: &Devices,
    user_interactive_auth: &UserInteractiveAuth,
    requester: &Requester,
    wanted: Option<Vec<String>>,
    auth: Option<Object<Auth>>,
) -> ClientResult<Json<Empty>> {
    let auth = auth.as_ref().map(|auth| &auth.0);
    // Not stored as it came: it may be long, and name what is not there.
    let wanted = match wanted {
        Some(wanted) => Some(devices.existing(requester.user_sn, wanted).await?),
        None => None,
    };
    let (operation, asker) = (Operation::DeleteDevices, Asker::User(requester));
    let asked = Asked::from(DeletedDevices { devices: wanted });
    if user_interactive_auth.outcome(operation, asker, &asked, auth).await?.is_some() {
        return Ok(Json(Empty {}));
    }
    let authorised = user_interactive_auth.authorise(operation, asker, asked, auth).await?;
    let deleted = authorised.parameters.devices.unwrap_or_default();
    devices.delete(requester.user_sn, deleted.into_iter().collect()).await?;
    user_interactive_auth.finish(authorised.authorisation.finishing).await?;
    Ok(Json(Empty {}))
}
