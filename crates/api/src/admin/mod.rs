//! The admin API, at Synapse's paths.
//!
//! <https://element-hq.github.io/synapse/latest/usage/administration/admin_api/>

mod background_jobs;
mod override_ratelimit;
mod register;
mod statistics;

use axum::Router;
use axum::routing::{get, post};

use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/_synapse/admin/v1/register", get(register::nonce).post(register::register))
        .route("/_synapse/admin/v1/background_jobs", get(background_jobs::list))
        .route("/_synapse/admin/v1/background_jobs/{job_id}", get(background_jobs::one).delete(background_jobs::cancel))
        .route("/_synapse/admin/v1/background_jobs/{job_id}/retry", post(background_jobs::retry))
        .route("/_synapse/admin/v1/statistics/server", get(statistics::server))
        .merge(override_ratelimit::routes())
}
