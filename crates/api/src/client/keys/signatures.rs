//! `POST /_matrix/client/v3/keys/signatures/upload`

use std::sync::Arc;

use accounts::asking::Asker;
use axum::extract::State;
use encryption::keys::{Keys, NewSignatures, QueryAnswer, RemoteKeys, SignaturesAnswer, WantedDevices};
use homeserver_core::Identity;

use super::patience;
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json};

/// The keys of users of other servers are asked for first, unless they are known: what is signed is compared with them.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload>
pub(crate) async fn upload(
    Authenticated(requester): Authenticated,
    State(identity): State<Arc<Identity>>,
    State(keys): State<Arc<Keys>>,
    State(remote_keys): State<Arc<RemoteKeys>>,
    Json(signatures): Json<NewSignatures>,
) -> ClientResult<Json<SignaturesAnswer>> {
    let elsewhere = signatures.keys().filter(|user_id| !identity.is_local(user_id));
    let elsewhere: WantedDevices = elsewhere.map(|user_id| (user_id.clone(), Vec::new())).collect();
    let mut unused = QueryAnswer::default();
    remote_keys.query(Asker::User(&requester), &elsewhere, patience(None), &mut unused).await?;
    Ok(Json(keys.upload_signatures(&requester, signatures).await?))
}
