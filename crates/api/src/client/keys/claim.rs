//! `POST /_matrix/client/v3/keys/claim`

use std::sync::Arc;

use accounts::asking::Asker;
use axum::extract::State;
use encryption::keys::{ClaimAnswer, Keys, RemoteKeys, WantedKeys};
use homeserver_core::Identity;
use serde::Deserialize;

use super::patience;
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Json};

#[derive(Deserialize)]
pub(crate) struct Body {
    one_time_keys: WantedKeys,
    /// How long to wait for other servers, in milliseconds.
    timeout: Option<u64>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim>
pub(crate) async fn claim(
    GuestOrUser(requester): GuestOrUser,
    State(identity): State<Arc<Identity>>,
    State(keys): State<Arc<Keys>>,
    State(remote_keys): State<Arc<RemoteKeys>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<ClaimAnswer>> {
    let (here, elsewhere) = body.one_time_keys.into_iter().partition(|(user_id, _)| identity.is_local(user_id));
    let mut answer = keys.claim(here).await?;
    remote_keys.claim(Asker::User(&requester), elsewhere, patience(body.timeout), &mut answer).await?;
    Ok(Json(answer))
}
