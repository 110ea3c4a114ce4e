//! `GET /_synapse/admin/v1/statistics/server`: how much there is on the server, and how much happens.

use std::sync::Arc;

use axum::extract::State;
use background::{ServerStatistics, Statistics};
use serde::{Deserialize, Serialize};

use crate::admin::error::AdminResult;
use crate::error::ApiError;
use crate::extract::{Administrator, Json, Query};

/// Times of counting that are shown when the client does not say.
const DEFAULT_LIMIT: u32 = 24;

#[derive(Deserialize)]
pub(super) struct Parameters {
    limit: Option<u32>,
}

#[derive(Serialize)]
pub(super) struct Answer {
    #[serde(flatten)]
    latest: Counted,
    /// What was counted before, newest first.
    history: Vec<Counted>,
}

/// What was counted at one time, in milliseconds since 1970.
#[derive(Serialize)]
struct Counted {
    counted_ts: i64,
    local_users: i64,
    daily_active_users: i64,
    monthly_active_users: i64,
    rooms: i64,
    daily_messages: i64,
    daily_sent_messages: i64,
}

/// What was counted last, and before.
pub(super) async fn server(
    _: Administrator,
    State(statistics): State<Arc<Statistics>>,
    Query(parameters): Query<Parameters>,
) -> AdminResult<Json<Answer>> {
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    let mut counted = statistics.last(limit.saturating_add(1)).await?.into_iter().map(Counted::from);
    let latest = counted.next();
    let latest = latest.ok_or_else(|| {
        ApiError::not_found(
            "Nothing has been counted yet: the server counts a minute after its first start, and then as configured",
        )
    })?;
    Ok(Json(Answer { latest, history: counted.collect() }))
}

impl From<ServerStatistics> for Counted {
    fn from(counted: ServerStatistics) -> Self {
        Self {
            counted_ts: counted.counted_at.0,
            local_users: counted.local_users,
            daily_active_users: counted.daily_active_users,
            monthly_active_users: counted.monthly_active_users,
            rooms: counted.rooms,
            daily_messages: counted.daily_messages,
            daily_sent_messages: counted.daily_sent_messages,
        }
    }
}
