//! `POST /_matrix/client/v3/keys/query`

use std::sync::Arc;

use accounts::asking::Asker;
use axum::extract::State;
use encryption::keys::{Keys, QueryAnswer, RemoteKeys, WantedDevices};
use homeserver_core::Identity;
use serde::Deserialize;

use super::patience;
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Json};

#[derive(Deserialize)]
pub(crate) struct Body {
    device_keys: WantedDevices,
    /// How long to wait for other servers, in milliseconds.
    timeout: Option<u64>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>
pub(crate) async fn query(
    GuestOrUser(requester): GuestOrUser,
    State(identity): State<Arc<Identity>>,
    State(keys): State<Arc<Keys>>,
    State(remote_keys): State<Arc<RemoteKeys>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<QueryAnswer>> {
    let (here, elsewhere) = body.device_keys.into_iter().partition(|(user_id, _)| identity.is_local(user_id));
    let mut answer = keys.query(&requester, here).await?;
    remote_keys.query(Asker::User(&requester), &elsewhere, patience(body.timeout), &mut answer).await?;
    keys.add_signatures_of(&requester, &mut answer).await?;
    Ok(Json(answer))
}
