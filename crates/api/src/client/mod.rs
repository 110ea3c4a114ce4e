//! The client-server API, as one list.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/>

mod account;
mod account_data;
mod capabilities;
mod devices;
mod directory;
pub(crate) mod error;
mod filter;
mod keys;
mod login;
mod login_token;
mod logout;
pub(crate) mod moderation;
mod mutual_rooms;
mod openid;
mod presence;
mod profile;
mod push_rules;
mod refresh;
mod register;
mod rendezvous;
mod room_keys;
mod rooms;
mod search;
mod send_to_device;
mod session;
mod sync;
mod tags;
mod threepids;
mod turn;
mod user_directory;
mod versions;

use axum::Router;
use axum::routing::{get, post, put};

use self::account::{deactivate::deactivate, password::change_password, whoami::whoami};
pub(crate) use self::register::NewAccount;
pub use self::versions::{SPECIFIED_ENDPOINTS, SpecifiedEndpoint};
use crate::paths::Paths;
use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    let routes = Paths::below("/_matrix/client").with_v3_also_as(&["r0", "unstable"]);
    let routes = server(routes);
    let routes = accounts(routes);
    let routes = addresses(routes);
    let routes = users(routes);
    let routes = changing_rooms(routes);
    let routes = reading_rooms(routes);
    let routes = directories(routes);
    let routes = moderation(routes);
    let routes = notifications(routes);
    let routes = encryption(routes);
    let routes = key_backup(routes);
    routes.into_router()
}

fn server(routes: Paths) -> Paths {
    routes
        .unversioned("/versions", get(versions::versions))
        .v3("/capabilities", get(capabilities::capabilities))
        .v3("/sync", get(sync::sync))
        .v3("/voip/turnServer", get(turn::turn_server))
}

fn accounts(routes: Paths) -> Paths {
    use rendezvous::{by_etag, by_token};
    routes
        .v3("/register", post(register::register))
        .v3("/register/available", get(register::available::available))
        .v1("/register/m.login.registration_token/validity", get(register::token_validity::token_validity))
        .draft(
            "/org.matrix.msc3231/register/org.matrix.msc3231.login.registration_token/validity",
            get(register::token_validity::token_validity),
        )
        .v3("/login", get(login::flows).post(login::log_in))
        .v1("/login/get_token", post(login_token::issue))
        .draft("/org.matrix.msc4108/rendezvous", post(by_etag::open))
        .draft(
            "/org.matrix.msc4108/rendezvous/{rendezvousId}",
            get(by_etag::read).put(by_etag::write).delete(by_etag::close),
        )
        .draft("/io.element.msc4388/rendezvous", get(by_token::discover).post(by_token::open))
        .draft(
            "/io.element.msc4388/rendezvous/{rendezvousId}",
            get(by_token::read).put(by_token::write).delete(by_token::close),
        )
        .v3("/refresh", post(refresh::refresh))
        .draft("/org.matrix.msc2918/refresh", post(refresh::refresh))
        .v3("/logout", post(logout::log_out))
        .v3("/logout/all", post(logout::log_out_all))
        .v3("/account/whoami", get(whoami))
        .v3("/account/password", post(change_password))
        .v3("/account/deactivate", post(deactivate))
        .v3("/devices", get(devices::list))
        .v3("/devices/{deviceId}", get(devices::read).put(devices::rename).delete(devices::delete_one))
        .v3("/delete_devices", post(devices::delete_many))
}

fn addresses(routes: Paths) -> Paths {
    use threepids::{add, delete, identity_server, list, request_token};
    routes
        .v3("/register/email/requestToken", post(request_token::for_registration))
        .v3("/register/msisdn/requestToken", post(request_token::for_phone_number))
        .v3("/account/password/email/requestToken", post(request_token::for_new_password))
        .v3("/account/password/msisdn/requestToken", post(request_token::for_phone_number))
        .v3("/account/3pid/email/requestToken", post(request_token::for_account))
        .v3("/account/3pid/msisdn/requestToken", post(request_token::for_phone_number))
        .v3("/account/3pid", get(list::list).post(identity_server::add))
        .v3("/account/3pid/add", post(add::add))
        .v3("/account/3pid/bind", post(identity_server::bind))
        .v3("/account/3pid/delete", post(delete::delete))
        .v3("/account/3pid/unbind", post(identity_server::unbind))
}

fn users(routes: Paths) -> Paths {
    let global = get(account_data::read_global).put(account_data::set_global);
    let room = get(account_data::read_room).put(account_data::set_room);
    routes
        .v3("/presence/{userId}/status", get(presence::get).put(presence::set))
        .v3("/profile/{userId}", get(profile::whole))
        .v3("/profile/{userId}/{keyName}", get(profile::field).put(profile::set).delete(profile::remove))
        .draft("/uk.tcpip.msc4133/profile/{userId}/{keyName}", put(profile::set).delete(profile::remove))
        .v3("/user/{userId}/account_data/{type}", global)
        .v3("/user/{userId}/rooms/{roomId}/account_data/{type}", room)
        .v3("/user/{userId}/rooms/{roomId}/tags", get(tags::list))
        .v3("/user/{userId}/rooms/{roomId}/tags/{tag}", put(tags::set).delete(tags::remove))
        .v3("/user/{userId}/openid/request_token", post(openid::request_token))
        .v3("/user/{userId}/filter", post(filter::store))
        .v3("/user/{userId}/filter/{filterId}", get(filter::read))
}

fn changing_rooms(routes: Paths) -> Paths {
    use rooms::{create, join, knock, membership, redact, send, state_put, typing, upgrade};
    routes
        .v3("/createRoom", post(create::create))
        .v3("/join/{roomIdOrAlias}", post(join::join_by_id_or_alias))
        .v3("/knock/{roomIdOrAlias}", post(knock::knock))
        .v3("/rooms/{roomId}/join", post(join::join))
        .v3("/rooms/{roomId}/invite", post(membership::invite))
        .v3("/rooms/{roomId}/leave", post(membership::leave))
        .v3("/rooms/{roomId}/kick", post(membership::kick))
        .v3("/rooms/{roomId}/ban", post(membership::ban))
        .v3("/rooms/{roomId}/unban", post(membership::unban))
        .v3("/rooms/{roomId}/forget", post(membership::forget))
        .v3("/rooms/{roomId}/upgrade", post(upgrade::upgrade))
        .v3("/rooms/{roomId}/send/{eventType}/{txnId}", put(send::send))
        .v3("/rooms/{roomId}/typing/{userId}", put(typing::typing))
        .v3("/rooms/{roomId}/redact/{eventId}/{txnId}", put(redact::redact))
        .v3("/rooms/{roomId}/state/{eventType}", put(state_put::set_without_key))
        .v3("/rooms/{roomId}/state/{eventType}/", put(state_put::set_without_key))
        .v3("/rooms/{roomId}/state/{eventType}/{stateKey}", put(state_put::set))
}

fn reading_rooms(routes: Paths) -> Paths {
    use rooms::timestamp_to_event;
    use rooms::{context, event, hierarchy, joined_members, joined_rooms, members, messages, relations, state_get};
    use rooms::{summary, threads};
    routes
        .v1("/rooms/{roomId}/hierarchy", get(hierarchy::hierarchy))
        .draft("/org.matrix.msc2946/rooms/{roomId}/hierarchy", get(hierarchy::hierarchy))
        .v1("/room_summary/{roomIdOrAlias}", get(summary::summary))
        .draft("/im.nheko.summary/summary/{roomIdOrAlias}", get(summary::summary))
        .draft("/im.nheko.summary/rooms/{roomIdOrAlias}/summary", get(summary::summary))
        .v3("/joined_rooms", get(joined_rooms::joined_rooms))
        .v3("/rooms/{roomId}/messages", get(messages::messages))
        .v1("/rooms/{roomId}/timestamp_to_event", get(timestamp_to_event::timestamp_to_event))
        .v3("/rooms/{roomId}/context/{eventId}", get(context::context))
        .v3("/rooms/{roomId}/event/{eventId}", get(event::event))
        .v1("/rooms/{roomId}/relations/{eventId}", get(relations::all))
        .v1("/rooms/{roomId}/relations/{eventId}/{relType}", get(relations::of_kind))
        .v1("/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}", get(relations::of_kind_and_type))
        .v1("/rooms/{roomId}/threads", get(threads::threads))
        .v3("/rooms/{roomId}/initialSync", get(rooms::initial_sync::room))
        .v3("/events/{eventId}", get(rooms::initial_sync::event))
        .v3("/rooms/{roomId}/members", get(members::members))
        .v3("/rooms/{roomId}/joined_members", get(joined_members::joined_members))
        .v3("/rooms/{roomId}/state", get(state_get::all))
        .v3("/rooms/{roomId}/state/{eventType}", get(state_get::one_without_key))
        .v3("/rooms/{roomId}/state/{eventType}/", get(state_get::one_without_key))
        .v3("/rooms/{roomId}/state/{eventType}/{stateKey}", get(state_get::one))
}

fn notifications(routes: Paths) -> Paths {
    use push_rules::{actions, delete, enabled, put, read, set_actions, set_enabled};
    routes
        .v3("/pushrules", get(push_rules::all))
        .v3("/pushrules/", get(push_rules::all))
        .v3("/pushrules/global", get(push_rules::global))
        .v3("/pushrules/global/", get(push_rules::global))
        .v3("/pushrules/global/{kind}/{ruleId}", get(read).put(put).delete(delete))
        .v3("/pushrules/global/{kind}/{ruleId}/enabled", get(enabled).put(set_enabled))
        .v3("/pushrules/global/{kind}/{ruleId}/actions", get(actions).put(set_actions))
        .v3("/rooms/{roomId}/receipt/{receiptType}/{eventId}", post(rooms::receipt::receipt))
        .v3("/rooms/{roomId}/read_markers", post(rooms::read_markers::read_markers))
}

fn encryption(routes: Paths) -> Paths {
    use keys::dehydrated;
    use keys::{changes, claim, device_signing, query, signatures, upload};
    routes
        .v3("/sendToDevice/{eventType}/{txnId}", put(send_to_device::send_to_device))
        .v3("/keys/upload", post(upload::upload))
        .v3("/keys/query", post(query::query))
        .v3("/keys/claim", post(claim::claim))
        .v3("/keys/changes", get(changes::changes))
        .v3("/keys/device_signing/upload", post(device_signing::upload))
        .v3("/keys/signatures/upload", post(signatures::upload))
        .draft(
            "/org.matrix.msc3814.v1/dehydrated_device",
            get(dehydrated::read).put(dehydrated::put).delete(dehydrated::delete),
        )
        .draft(
            "/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events",
            get(dehydrated::events_by_query).post(dehydrated::events),
        )
}

fn key_backup(routes: Paths) -> Paths {
    use room_keys::{all, room, session, version};
    routes
        .v3("/room_keys/version", get(version::newest).post(version::create))
        .v3("/room_keys/version/{version}", get(version::read).put(version::update).delete(version::delete))
        .v3("/room_keys/keys", get(all::read).put(all::put).delete(all::delete))
        .v3("/room_keys/keys/{roomId}", get(room::read).put(room::put).delete(room::delete))
        .v3("/room_keys/keys/{roomId}/{sessionId}", get(session::read).put(session::put).delete(session::delete))
}

fn moderation(routes: Paths) -> Paths {
    use moderation::{report, standing, whois};
    routes
        .v3("/rooms/{roomId}/report", post(report::room))
        .v3("/rooms/{roomId}/report/{eventId}", post(report::event))
        .v3("/users/{userId}/report", post(report::user))
        .v3("/admin/whois/{userId}", get(whois::whois))
        .v1("/admin/lock/{userId}", get(standing::lock).put(standing::set_lock))
        .v1("/admin/suspend/{userId}", get(standing::suspension).put(standing::set_suspension))
}

fn directories(routes: Paths) -> Paths {
    use directory::{alias, public_rooms, visibility};
    routes
        .v3("/directory/room/{roomAlias}", get(alias::resolve).put(alias::create).delete(alias::delete))
        .v3("/directory/list/room/{roomId}", get(visibility::read).put(visibility::set))
        .v1("/mutual_rooms", get(mutual_rooms::mutual_rooms))
        .v3("/search", post(search::search))
        .v3("/user_directory/search", post(user_directory::search))
        .v3("/publicRooms", get(public_rooms::list).post(public_rooms::search))
        .v3("/rooms/{roomId}/aliases", get(rooms::aliases::list))
}
