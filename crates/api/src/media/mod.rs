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
use axum::routing::{get, post, put};

pub(crate) use self::answer::{body, described};
pub(crate) use self::download::Waiting;
pub(crate) use self::thumbnail::Thumbnail;
use crate::paths::Paths;
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    client_paths().into_router().merge(media_paths().into_router())
}

fn client_paths() -> Paths {
    Paths::below("/_matrix/client")
        .v1("/media/config", get(config::config))
        .v1("/media/download/{serverName}/{mediaId}", get(download::download))
        .v1("/media/download/{serverName}/{mediaId}/{fileName}", get(download::named))
        .v1("/media/thumbnail/{serverName}/{mediaId}", get(thumbnail::thumbnail))
}

fn media_paths() -> Paths {
    Paths::below("/_matrix/media")
        .with_v3_also_as(&["r0", "v1"])
        .v1("/create", post(create::create))
        .draft("/fi.mau.msc2246/create", post(create::create))
        .draft("/fi.mau.msc2246/upload/{serverName}/{mediaId}", put(upload::upload_to))
        .v3("/upload", post(upload::upload))
        .v3("/upload/{serverName}/{mediaId}", put(upload::upload_to))
        .v3("/config", get(config::config))
        .v3("/download/{serverName}/{mediaId}", get(old::download))
        .v3("/download/{serverName}/{mediaId}/{fileName}", get(old::named))
        .v3("/thumbnail/{serverName}/{mediaId}", get(old::thumbnail))
}
