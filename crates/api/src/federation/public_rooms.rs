//! `/_matrix/federation/v1/publicRooms`

use std::sync::Arc;

use axum::extract::State;
use rooms::{Directory, DirectoryPage, DirectoryQuery};
use serde::Deserialize;

use super::error::FederationResult;
use super::from_server::FromServer;
use super::signed::Signed;
use crate::extract::{Json, Object, Query};

#[derive(Deserialize)]
pub(crate) struct Page {
    limit: Option<u32>,
    since: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Search {
    limit: Option<u32>,
    since: Option<String>,
    filter: Option<Object<Filter>>,
}

#[derive(Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms>
pub(crate) async fn list(
    _: FromServer,
    Query(page): Query<Page>,
    State(directory): State<Arc<Directory>>,
) -> FederationResult<Json<DirectoryPage>> {
    let query = DirectoryQuery { limit: count(page.limit), since: page.since, ..DirectoryQuery::default() };
    Ok(Json(directory.page(&query).await?))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms>
pub(crate) async fn search(
    State(directory): State<Arc<Directory>>,
    Signed { body: search, .. }: Signed<Search>,
) -> FederationResult<Json<DirectoryPage>> {
    let Filter { generic_search_term, room_types } = search.filter.map(|Object(filter)| filter).unwrap_or_default();
    let (limit, since) = (count(search.limit), search.since);
    let query = DirectoryQuery { limit, since, search_term: generic_search_term, room_types };
    Ok(Json(directory.page(&query).await?))
}

fn count(limit: Option<u32>) -> Option<usize> {
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
