//! `POST /_matrix/client/v3/search`

use std::sync::Arc;

use accounts::filters::RoomEventFilter;
use axum::extract::State;
use axum::response::Response;
use rooms::reading::{ContextWish, MAX_CONTEXT, Search, SearchRequest};
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Authenticated, Json, Object, Query, json_bytes};

/// Events before and after a result if the client does not say.
const DEFAULT_CONTEXT: usize = 5;

#[derive(Deserialize, Debug)]
pub(super) struct Parameters {
    next_batch: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Body {
    search_categories: Object<Categories>,
}

#[derive(Deserialize)]
struct Categories {
    room_events: Option<Object<Criteria>>,
}

#[derive(Deserialize)]
struct Criteria {
    search_term: String,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    filter: Object<RoomEventFilter>,
    #[serde(default)]
    order_by: Order,
    #[serde(default)]
    event_context: Object<EventContext>,
    #[serde(default)]
    include_state: bool,
    #[serde(default)]
    groupings: Object<Groupings>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Rank,
    Recent,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EventContext {
    before_limit: Option<usize>,
    after_limit: Option<usize>,
    include_profile: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Groupings {
    group_by: Vec<Object<Group>>,
}

#[derive(Deserialize)]
struct Group {
    key: GroupKey,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GroupKey {
    RoomId,
    Sender,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search>
pub(super) async fn search(
    Authenticated(requester): Authenticated,
    Query(parameters): Query<Parameters>,
    State(search): State<Arc<Search>>,
    Json(body): Json<Body>,
) -> ClientResult<Response> {
    let Some(Object(criteria)) = body.search_categories.0.room_events else {
        return Ok(json_bytes(r#"{"search_categories":{}}"#));
    };
    let found = search.search(&requester, &request(criteria, parameters.next_batch)?).await?;
    let mut answer = Vec::with_capacity(found.len() + 64);
    answer.extend_from_slice(br#"{"search_categories":{"room_events":"#);
    answer.extend_from_slice(&found);
    answer.extend_from_slice(b"}}");
    Ok(json_bytes(answer))
}

fn request(criteria: Criteria, next_batch: Option<String>) -> ApiResult<SearchRequest> {
    let mut keys = Vec::with_capacity(criteria.keys.len());
    for key in criteria.keys {
        match key.as_str() {
            "content.body" | "content.name" | "content.topic" => {
                keys.push(key.trim_start_matches("content.").to_owned())
            }
            _ => return Err(ApiError::invalid_param(format!("keys: {key:?} cannot be searched"))),
        }
    }
    let EventContext { before_limit, after_limit, include_profile } = criteria.event_context.0;
    let bounded = |limit: Option<usize>| limit.unwrap_or(DEFAULT_CONTEXT).min(MAX_CONTEXT);
    let groups: Vec<GroupKey> = criteria.groupings.0.group_by.iter().map(|group| group.0.key).collect();
    Ok(SearchRequest {
        search_term: criteria.search_term,
        keys,
        filter: criteria.filter.0,
        is_newest_first: criteria.order_by == Order::Recent,
        context: ContextWish { before: bounded(before_limit), after: bounded(after_limit), include_profile },
        include_state: criteria.include_state,
        by_room: groups.contains(&GroupKey::RoomId),
        by_sender: groups.contains(&GroupKey::Sender),
        next_batch,
    })
}
