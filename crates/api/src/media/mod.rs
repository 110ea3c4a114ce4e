//! The content repository, as one list.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#content-repository>

mod answer;
mod config;
mod create;
mod download;
mod error;
mod old;
mod range;
mod thumbnail;
mod upload;

use axum::Router;
use axum::routing::{MethodRouter, get, post, put};

pub(crate) use self::answer::{body, described};
pub(crate) use self::download::Waiting;
pub(crate) use self::thumbnail::Thumbnail;
use crate::state::ApiState;

const CLIENT: &str = "/_matrix/client/v1/media";

pub(crate) fn routes() -> Router<ApiState> {
    let routes = Router::new()
        .route("/_matrix/media/v1/create", post(create::create))
        .route(&format!("{CLIENT}/config"), get(config::config))
        .route(&format!("{CLIENT}/download/{{serverName}}/{{mediaId}}"), get(download::download))
        .route(&format!("{CLIENT}/download/{{serverName}}/{{mediaId}}/{{fileName}}"), get(download::named))
        .route(&format!("{CLIENT}/thumbnail/{{serverName}}/{{mediaId}}"), get(thumbnail::thumbnail));
    let routes = of_all_versions(routes, "/upload", &post(upload::upload));
    let routes = of_all_versions(routes, "/upload/{serverName}/{mediaId}", &put(upload::upload_to));
    let routes = of_all_versions(routes, "/config", &get(config::config));
    let routes = of_all_versions(routes, "/download/{serverName}/{mediaId}", &get(old::download));
    let routes = of_all_versions(routes, "/download/{serverName}/{mediaId}/{fileName}", &get(old::named));
    of_all_versions(routes, "/thumbnail/{serverName}/{mediaId}", &get(old::thumbnail))
}

/// A path that had other versions before Matrix 1.1.
fn of_all_versions(routes: Router<ApiState>, path: &str, methods: &MethodRouter<ApiState>) -> Router<ApiState> {
    ["v3", "r0", "v1"]
        .iter()
        .fold(routes, |routes, version| routes.route(&format!("/_matrix/media/{version}{path}"), methods.clone()))
}
