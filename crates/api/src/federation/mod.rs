//! The server-server API, as one list.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/>

mod backfill;
mod error;
mod event;
mod from_server;
mod hierarchy;
mod keys;
mod media;
mod membership;
mod missing_events;
mod openid;
mod public_rooms;
mod query;
mod send;
mod signed;
mod state;
pub(crate) mod timestamp_to_event;
mod user_keys;
mod version;

use axum::Router;
use axum::routing::{get, post, put};

use self::membership::{bound, invite, make, send_join, send_knock, send_leave, third_party};
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/_matrix/key/v2/server", get(keys::own))
        // Old servers ask for one key.
        .route("/_matrix/key/v2/server/{keyId}", get(keys::own))
        .route("/_matrix/key/v2/query/{serverName}", get(keys::of_server))
        // Old servers ask for one key.
        .route("/_matrix/key/v2/query/{serverName}/{keyId}", get(keys::of_server_with_key))
        .route("/_matrix/key/v2/query", post(keys::of_servers))
        .route("/_matrix/federation/v1/version", get(version::version))
        .route("/_matrix/federation/v1/media/download/{mediaId}", get(media::download))
        .route("/_matrix/federation/v1/media/thumbnail/{mediaId}", get(media::thumbnail))
        .route("/_matrix/federation/v1/openid/userinfo", get(openid::user_info))
        .route("/_matrix/federation/v1/send/{txnId}", put(send::send))
        .route("/_matrix/federation/v1/query/directory", get(query::directory))
        .route("/_matrix/federation/v1/query/profile", get(query::profile))
        .route("/_matrix/federation/v1/event/{eventId}", get(event::event))
        .route("/_matrix/federation/v1/event_auth/{roomId}/{eventId}", get(event::event_auth))
        .route("/_matrix/federation/v1/state/{roomId}", get(state::state))
        .route("/_matrix/federation/v1/state_ids/{roomId}", get(state::state_ids))
        .route("/_matrix/federation/v1/backfill/{roomId}", get(backfill::backfill))
        .route("/_matrix/federation/v1/get_missing_events/{roomId}", post(missing_events::missing_events))
        .route("/_matrix/federation/v1/timestamp_to_event/{roomId}", get(timestamp_to_event::timestamp_to_event))
        .route("/_matrix/federation/v1/hierarchy/{roomId}", get(hierarchy::hierarchy))
        .route("/_matrix/federation/v1/query/{queryType}", get(query::other))
        .route("/_matrix/federation/v1/publicRooms", get(public_rooms::list).post(public_rooms::search))
        .route("/_matrix/federation/v1/user/devices/{userId}", get(user_keys::devices))
        .route("/_matrix/federation/v1/user/keys/query", post(user_keys::query))
        .route("/_matrix/federation/v1/user/keys/claim", post(user_keys::claim))
        .merge(membership_routes())
}

fn membership_routes() -> Router<ApiState> {
    Router::new()
        .route("/_matrix/federation/v1/make_join/{roomId}/{userId}", get(make::join))
        .route("/_matrix/federation/v1/make_knock/{roomId}/{userId}", get(make::knock))
        .route("/_matrix/federation/v1/make_leave/{roomId}/{userId}", get(make::leave))
        .route("/_matrix/federation/v1/send_join/{roomId}/{eventId}", put(send_join::send_join_v1))
        .route("/_matrix/federation/v2/send_join/{roomId}/{eventId}", put(send_join::send_join))
        .route("/_matrix/federation/v1/send_knock/{roomId}/{eventId}", put(send_knock::send_knock))
        .route("/_matrix/federation/v1/send_leave/{roomId}/{eventId}", put(send_leave::send_leave_v1))
        .route("/_matrix/federation/v2/send_leave/{roomId}/{eventId}", put(send_leave::send_leave))
        .route("/_matrix/federation/v1/invite/{roomId}/{eventId}", put(invite::invite_v1))
        .route("/_matrix/federation/v2/invite/{roomId}/{eventId}", put(invite::invite))
        .route("/_matrix/federation/v1/3pid/onbind", put(bound::bound))
        .route("/_matrix/federation/v1/exchange_third_party_invite/{roomId}", put(third_party::exchange))
}
