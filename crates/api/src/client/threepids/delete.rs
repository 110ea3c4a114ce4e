//! `POST /_matrix/client/v3/account/3pid/delete`

use std::sync::Arc;

use accounts::threepids::ThirdPartyIdentifiers;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json};

#[derive(Deserialize)]
pub(crate) struct Body {
    medium: String,
    address: String,
}

/// Whether an identity server has forgotten the address, too: nothing is ever bound to one from here.
#[derive(Serialize)]
pub(crate) struct Unbound {
    id_server_unbind_result: &'static str,
}

impl Unbound {
    pub(super) const NO_SUPPORT: Self = Self { id_server_unbind_result: "no-support" };
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete>
pub(crate) async fn delete(
    Authenticated(requester): Authenticated,
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Unbound>> {
    threepids.delete(requester.user_sn, &body.medium, &body.address).await?;
    Ok(Json(Unbound::NO_SUPPORT))
}
