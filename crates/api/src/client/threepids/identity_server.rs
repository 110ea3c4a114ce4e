//! `POST /_matrix/client/v3/account/3pid`, `…/3pid/bind` and `…/3pid/unbind`: what needs an identity server, which this server
//! does not speak to.

use super::delete::Unbound;
use crate::error::ApiError;
use crate::extract::{Authenticated, Json};

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pid>
pub(crate) async fn add(_: Authenticated) -> ApiError {
    let sentence = "This server does not use identity servers: use /account/3pid/add with an address that it validated";
    ApiError::threepid_auth_failed(sentence).with_status(http::StatusCode::FORBIDDEN)
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidbind>
pub(crate) async fn bind(_: Authenticated) -> ApiError {
    ApiError::server_not_trusted("This server does not use identity servers")
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidunbind>
pub(crate) async fn unbind(_: Authenticated) -> Json<Unbound> {
    Json(Unbound::NO_SUPPORT)
}
