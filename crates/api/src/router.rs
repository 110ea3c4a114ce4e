//! Which routers a listener serves.

use axum::Router;
use axum::extract::FromRef;
use http::StatusCode;

use crate::edge::EdgeLayer;
use crate::error::ApiError;
use crate::state::ApiState;
use crate::{admin, client, federation, front_page, media, submit_token, well_known};

/// A part of the API that a listener can serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// The client-server API.
    Client,
    /// The server-server API and the signing keys.
    Federation,
    /// The content repository.
    Media,
    /// The admin API, under `/_synapse/admin`.
    Admin,
    /// `/health`, `/health/live` and `/health/ready`.
    Health,
    /// `/metrics` and `/_synapse/metrics`.
    Metrics,
}

impl Resource {
    /// Every part of the API.
    pub const ALL: [Self; 6] = [Self::Client, Self::Federation, Self::Media, Self::Admin, Self::Health, Self::Metrics];
}

/// The parts of the API in `resources`, as one router. A path that nobody knows is a 404, a known one with another method a 405,
/// both as Matrix errors.
pub fn router(state: ApiState, resources: &[Resource]) -> Router {
    let mut router = Router::new();
    if resources.contains(&Resource::Client) {
        let pages = front_page::routes().merge(submit_token::routes());
        router = router.merge(client::routes()).merge(well_known::routes()).merge(pages);
    }
    if resources.contains(&Resource::Federation) {
        router = router.merge(federation::routes());
    }
    if resources.contains(&Resource::Media) {
        router = router.merge(media::routes());
    }
    if resources.contains(&Resource::Admin) {
        router = router.merge(admin::routes());
    }
    let edge = EdgeLayer { observer: FromRef::from_ref(&state), client_traces: FromRef::from_ref(&state) };
    finish(router, edge).with_state(state)
}

/// Adds what all routes have in common.
fn finish<S: Clone + Send + Sync + 'static>(routes: Router<S>, edge: EdgeLayer) -> Router<S> {
    routes
        .fallback(async || ApiError::unrecognized("This server has no such endpoint"))
        .method_not_allowed_fallback(async || {
            ApiError::unrecognized("This endpoint does not support this method")
                .with_status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(edge)
}

#[cfg(test)]
mod tests;
