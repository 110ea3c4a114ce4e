//! `POST /_matrix/client/v3/keys/signatures/upload`

use std::sync::Arc;

use axum::extract::State;
use encryption::keys::{Keys, NewSignatures, SignaturesAnswer};

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json};

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload>
pub(crate) async fn upload(
    Authenticated(requester): Authenticated,
    State(keys): State<Arc<Keys>>,
    Json(signatures): Json<NewSignatures>,
) -> ClientResult<Json<SignaturesAnswer>> {
    Ok(Json(keys.upload_signatures(&requester, signatures).await?))
}
