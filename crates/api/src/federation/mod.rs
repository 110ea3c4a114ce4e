//! The server-server API, as one list.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/>

mod backfill;
mod error;
mod event;
mod from_server;
mod keys;
mod media;
mod missing_events;
mod openid;
mod public_rooms;
mod query;
mod signed;
mod state;
pub(crate) mod timestamp_to_event;
mod user_keys;
mod version;

use axum::Router;
use axum::routing::{get, post};

use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/_matrix/key/v2/server", get(keys::own))
        // Old servers ask for one key.
        .route("/_matrix/key/v2/server/{keyId}", get(keys::own))
        .route("/_matrix/key/v2/query/{serverName}", get(keys::of_server))
        // Old servers ask for one key.
        .route("/_matrix/key/v2/query/{serverName}/{keyId}", get(keys::of_server))
        .route("/_matrix/key/v2/query", post(keys::of_servers))
        .route("/_matrix/federation/v1/version", get(version::version))
        .route("/_matrix/federation/v1/media/download/{mediaId}", get(media::download))
        .route("/_matrix/federation/v1/media/thumbnail/{mediaId}", get(media::thumbnail))
        .route("/_matrix/federation/v1/openid/userinfo", get(openid::user_info))
        .route("/_matrix/federation/v1/query/directory", get(query::directory))
        .route("/_matrix/federation/v1/query/profile", get(query::profile))
        .route("/_matrix/federation/v1/event/{eventId}", get(event::event))
        .route("/_matrix/federation/v1/event_auth/{roomId}/{eventId}", get(event::event_auth))
        .route("/_matrix/federation/v1/state/{roomId}", get(state::state))
        .route("/_matrix/federation/v1/state_ids/{roomId}", get(state::state_ids))
        .route("/_matrix/federation/v1/backfill/{roomId}", get(backfill::backfill))
        .route("/_matrix/federation/v1/get_missing_events/{roomId}", post(missing_events::missing_events))
        .route("/_matrix/federation/v1/timestamp_to_event/{roomId}", get(timestamp_to_event::timestamp_to_event))
        .route("/_matrix/federation/v1/query/{queryType}", get(query::other))
        .route("/_matrix/federation/v1/publicRooms", get(public_rooms::list).post(public_rooms::search))
        .route("/_matrix/federation/v1/user/devices/{userId}", get(user_keys::devices))
        .route("/_matrix/federation/v1/user/keys/query", post(user_keys::query))
        .route("/_matrix/federation/v1/user/keys/claim", post(user_keys::claim))
}
