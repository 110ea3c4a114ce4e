//! `/_matrix/client/v3/publicRooms`

use std::sync::Arc;

use accounts::asking::Asker;
use accounts::rate_limits::{Key, LimitedAction, RateLimits};
use axum::extract::State;
use homeserver_core::Identity;
use rooms::remote::RemoteQueries;
use rooms::{Directory, DirectoryPage, DirectoryQuery};
use ruma::OwnedServerName;
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, ClientAddress, Json, Object, OptionalAuthenticated, Query};

#[derive(Deserialize)]
pub(crate) struct Page {
    limit: Option<u32>,
    since: Option<String>,
    server: Option<OwnedServerName>,
}

#[derive(Deserialize)]
pub(crate) struct Server {
    server: Option<OwnedServerName>,
}

#[derive(Deserialize)]
pub(crate) struct Search {
    limit: Option<u32>,
    since: Option<String>,
    filter: Option<Object<Filter>>,
}

#[derive(Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms>
pub(crate) async fn list(
    OptionalAuthenticated(requester): OptionalAuthenticated,
    ClientAddress(address): ClientAddress,
    State(rate_limits): State<Arc<RateLimits>>,
    Query(page): Query<Page>,
    State(identity): State<Arc<Identity>>,
    State(directory): State<Arc<Directory>>,
    State(remote): State<Arc<RemoteQueries>>,
) -> ClientResult<Json<DirectoryPage>> {
    let key = requester.as_ref().map_or_else(|| Key::address(address), |requester| Key::user(requester.user_sn));
    rate_limits.spend(LimitedAction::RoomDirectory, key, requester.as_ref())?.keep();
    let query = DirectoryQuery { limit: count(page.limit), since: page.since, ..DirectoryQuery::default() };
    let asker = requester.as_ref().map_or(Asker::Address(address), Asker::User);
    Ok(Json(match other_server(&identity, page.server) {
        Some(server) => remote.public_rooms(asker, &server, &query).await?,
        None => directory.page(&query).await?,
    }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms>
pub(crate) async fn search(
    Authenticated(requester): Authenticated,
    State(rate_limits): State<Arc<RateLimits>>,
    Query(Server { server }): Query<Server>,
    State(identity): State<Arc<Identity>>,
    State(directory): State<Arc<Directory>>,
    State(remote): State<Arc<RemoteQueries>>,
    Json(search): Json<Search>,
) -> ClientResult<Json<DirectoryPage>> {
    rate_limits.spend_by_user(LimitedAction::RoomDirectory, &requester)?.keep();
    let (search_term, room_types) = match search.filter {
        Some(Object(filter)) => (filter.generic_search_term, filter.room_types),
        None => (None, None),
    };
    let query = DirectoryQuery { limit: count(search.limit), since: search.since, search_term, room_types };
    Ok(Json(match other_server(&identity, server) {
        Some(server) => remote.public_rooms(Asker::User(&requester), &server, &query).await?,
        None => directory.page(&query).await?,
    }))
}

/// The server whose directory is asked for, if it is another one.
fn other_server(identity: &Identity, server: Option<OwnedServerName>) -> Option<OwnedServerName> {
    server.filter(|server| *server != identity.server_name)
}

fn count(limit: Option<u32>) -> Option<usize> {
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
