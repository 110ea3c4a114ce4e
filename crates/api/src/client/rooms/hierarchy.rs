//! `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`

use std::num::NonZeroU32;
use std::sync::Arc;

use accounts::rate_limits::{LimitedAction, RateLimits};
use axum::extract::State;
use replication::hierarchy::{Hierarchies, HierarchyPage, HierarchyQuery};
use ruma::OwnedRoomId;
use serde::Deserialize;

use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Json, Path, Query};

#[derive(Deserialize)]
pub(crate) struct Parameters {
    suggested_only: Option<bool>,
    limit: Option<NonZeroU32>,
    max_depth: Option<u32>,
    from: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>
pub(crate) async fn hierarchy(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
    State(rate_limits): State<Arc<RateLimits>>,
    State(hierarchies): State<Arc<Hierarchies>>,
) -> ClientResult<Json<HierarchyPage>> {
    rate_limits.spend_by_user(LimitedAction::RoomDirectory, &requester)?.keep();
    let Parameters { suggested_only, limit, max_depth, from } = parameters;
    let limit = limit.map(|limit| usize::try_from(limit.get()).unwrap_or(usize::MAX));
    let query = HierarchyQuery { from, limit, max_depth, suggested_only };
    Ok(Json(hierarchies.page(&requester, &room_id, &query).await?))
}
