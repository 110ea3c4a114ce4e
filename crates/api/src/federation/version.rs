//! `GET /_matrix/federation/v1/version`

use serde::Serialize;

use crate::extract::Json;

#[derive(Serialize)]
pub(crate) struct Version {
    server: Implementation,
}

#[derive(Serialize)]
struct Implementation {
    name: &'static str,
    version: &'static str,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version>
pub(crate) async fn version() -> Json<Version> {
    Json(Version { server: Implementation { name: "synapse-rust", version: env!("CARGO_PKG_VERSION") } })
}
