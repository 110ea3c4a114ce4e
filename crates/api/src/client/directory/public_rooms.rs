//! `/_matrix/client/v3/publicRooms`

use std::sync::Arc;

use accounts::rate_limits::{Key, LimitedAction, RateLimits};
use axum::extract::State;
use homeserver_core::Identity;
use rooms::{Directory, DirectoryPage, DirectoryQuery};
use ruma::OwnedServerName;
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::error::{ApiError, ApiResult};
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
) -> ClientResult<Json<DirectoryPage>> {
    check_server(&identity, page.server)?;
    let key = requester.as_ref().map_or_else(|| Key::address(address), |requester| Key::user(requester.user_sn));
    rate_limits.spend(LimitedAction::RoomDirectory, key, requester.as_ref())?.keep();
    let query = DirectoryQuery { limit: count(page.limit), since: page.since, ..DirectoryQuery::default() };
    Ok(Json(directory.page(&query).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms>
pub(crate) async fn search(
    Authenticated(requester): Authenticated,
    State(rate_limits): State<Arc<RateLimits>>,
    Query(Server { server }): Query<Server>,
    State(identity): State<Arc<Identity>>,
    State(directory): State<Arc<Directory>>,
    Json(search): Json<Search>,
) -> ClientResult<Json<DirectoryPage>> {
    check_server(&identity, server)?;
    rate_limits.spend_by_user(LimitedAction::RoomDirectory, &requester)?.keep();
    let (search_term, room_types) = match search.filter {
        Some(Object(filter)) => (filter.generic_search_term, filter.room_types),
        None => (None, None),
    };
    let query = DirectoryQuery { limit: count(search.limit), since: search.since, search_term, room_types };
    Ok(Json(directory.page(&query).await?))
}

fn check_server(identity: &Identity, server: Option<OwnedServerName>) -> ApiResult<()> {
    match server.filter(|server| *server != identity.server_name) {
        Some(server) => {
            Err(ApiError::not_found(format!("The directory of {server} cannot be reached from this server")))
        }
        None => Ok(()),
    }
}

fn count(limit: Option<u32>) -> Option<usize> {
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
