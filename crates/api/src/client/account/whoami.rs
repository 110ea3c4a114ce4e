//! `GET /_matrix/client/v3/account/whoami`

use ruma::{OwnedDeviceId, OwnedUserId};
use serde::Serialize;

use crate::extract::{GuestOrUser, Json};

#[derive(Serialize)]
pub(crate) struct Whoami {
    user_id: OwnedUserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<OwnedDeviceId>,
    is_guest: bool,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami>
pub(crate) async fn whoami(GuestOrUser(requester): GuestOrUser) -> Json<Whoami> {
    Json(Whoami { user_id: requester.user_id, device_id: requester.device_id, is_guest: requester.is_guest })
}
