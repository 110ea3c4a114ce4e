//! `POST /_matrix/client/v3/logout` and `…/logout/all`

use std::sync::Arc;

use accounts::sessions::Sessions;
use axum::extract::State;

use crate::Empty;
use crate::client::error::ClientResult;
use crate::extract::{Json, LockedOrNot};

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout>
pub(super) async fn log_out(
    LockedOrNot(requester): LockedOrNot,
    State(sessions): State<Arc<Sessions>>,
) -> ClientResult<Json<Empty>> {
    if let Some(device_id) = requester.device_id {
        sessions.delete_devices(requester.user_sn, vec![device_id.to_string()]).await?;
    }
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall>
pub(super) async fn log_out_all(
    LockedOrNot(requester): LockedOrNot,
    State(sessions): State<Arc<Sessions>>,
) -> ClientResult<Json<Empty>> {
    sessions.delete_all_devices(requester.user_sn, None).await?;
    Ok(Json(Empty {}))
}
