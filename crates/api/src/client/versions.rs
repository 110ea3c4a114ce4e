//! `GET /_matrix/client/versions`

use axum::response::Response;

use crate::extract::json_bytes;

/// Made by hand because it is asked for more often than anything else and never changes.
const DOCUMENT: &str = concat!(
    r#"{"versions":["r0.6.1","v1.1","v1.2","v1.3","v1.4","v1.5","v1.6","v1.7","v1.8","v1.9","v1.10","v1.11","v1.12","#,
    r#""v1.13","v1.14","v1.15","v1.16","v1.17","v1.18","v1.19"],"unstable_features":{}}"#
);

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions>
pub(super) async fn versions() -> Response {
    json_bytes(DOCUMENT)
}
