//! The client-server API, as one list.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/>

mod capabilities;
mod paths;
mod rooms;
mod versions;

use axum::Router;
use axum::routing::get;

use self::paths::ClientPaths;
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    ClientPaths::new()
        // Server
        .at("/_matrix/client/versions", get(versions::versions))
        .v3("/capabilities", get(capabilities::capabilities))
        .into_router()
}
