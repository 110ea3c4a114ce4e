//! `GET /_matrix/client/v3/capabilities`

use std::sync::Arc;

use accounts::capabilities::Capabilities;
use axum::extract::State;
use axum::response::Response;

use crate::extract::{GuestOrUser, json_bytes};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities>
pub(super) async fn capabilities(
    GuestOrUser(requester): GuestOrUser,
    State(capabilities): State<Arc<Capabilities>>,
) -> Response {
    json_bytes(capabilities.document(requester.is_admin))
}
