//! The admin API, at Synapse's paths.
//!
//! <https://element-hq.github.io/synapse/latest/usage/administration/admin_api/>

mod override_ratelimit;
mod register;

use axum::Router;
use axum::routing::get;

use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    use override_ratelimit::{read, remove, set};
    Router::new()
        .route("/_synapse/admin/v1/register", get(register::nonce).post(register::register))
        .route("/_synapse/admin/v1/users/{user_id}/override_ratelimit", get(read).post(set).delete(remove))
}
