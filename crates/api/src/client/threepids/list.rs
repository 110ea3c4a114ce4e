//! `GET /_matrix/client/v3/account/3pid`

use std::sync::Arc;

use accounts::threepids::ThirdPartyIdentifiers;
use axum::extract::State;
use serde::Serialize;

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json};

#[derive(Serialize)]
pub(crate) struct Threepids {
    threepids: Vec<Threepid>,
}

#[derive(Serialize)]
struct Threepid {
    medium: String,
    address: String,
    validated_at: i64,
    added_at: i64,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid>
pub(crate) async fn list(
    Authenticated(requester): Authenticated,
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
) -> ClientResult<Json<Threepids>> {
    let of_user = threepids.of_user(requester.user_sn).await?.into_iter().map(|threepid| Threepid {
        medium: threepid.medium,
        address: threepid.address,
        validated_at: threepid.validated_at.0,
        added_at: threepid.added_at.0,
    });
    Ok(Json(Threepids { threepids: of_user.collect() }))
}
