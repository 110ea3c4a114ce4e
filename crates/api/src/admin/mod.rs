//! The admin API, at Synapse's paths.
//!
//! <https://element-hq.github.io/synapse/latest/usage/administration/admin_api/>

mod background_jobs;
mod destinations;
mod error;
mod override_ratelimit;
mod register;
mod reports;
mod statistics;

use axum::Router;
use axum::routing::{get, post};

use crate::paths::Paths;
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Paths::below("/_synapse/admin")
        .v1("/register", get(register::nonce).post(register::register))
        .v1("/background_jobs", get(background_jobs::list))
        .v1("/background_jobs/{job_id}", get(background_jobs::one).delete(background_jobs::cancel))
        .v1("/background_jobs/{job_id}/retry", post(background_jobs::retry))
        .v1("/federation/destinations", get(destinations::list))
        .v1("/federation/destinations/{destination}", get(destinations::one))
        .v1("/federation/destinations/{destination}/rooms", get(destinations::rooms))
        .v1("/federation/destinations/{destination}/reset_connection", post(destinations::reset_connection))
        .v1("/event_reports", get(reports::events))
        .v1("/event_reports/{report_id}", get(reports::event).delete(reports::remove_of_event))
        .v1("/room_reports", get(reports::rooms))
        .v1("/room_reports/{report_id}", get(reports::room).delete(reports::remove_of_room))
        .v1("/user_reports", get(reports::users))
        .v1("/user_reports/{report_id}", get(reports::user).delete(reports::remove_of_user))
        .v1("/whois/{userId}", get(crate::client::moderation::whois::whois))
        .v1("/statistics/server", get(statistics::server))
        .v1(
            "/users/{user_id}/override_ratelimit",
            get(override_ratelimit::read).post(override_ratelimit::set).delete(override_ratelimit::remove),
        )
        .into_router()
}
