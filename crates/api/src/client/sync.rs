//! `GET /_matrix/client/v3/sync`

use std::sync::Arc;
use std::time::Duration;

use accounts::filters::{FilterDefinition, FilterError, Filters, parse};
use accounts::sessions::Requester;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use event_log::tokens::{parse_to_device, parse_token};
use futures::{Stream, StreamExt as _, stream};
use rooms::RoomError;
use serde::Deserialize;
use sync::presence::Presences;
use sync::providers::Wants;
use sync::v3::{LaterPieces, Sync, SyncBody, SyncRequest};

use super::presence::Presence;
use crate::client::error::ClientResult;
use crate::error::{ApiError, ApiResult};
use crate::extract::{GuestOrUser, Query, json_bytes};

#[derive(Deserialize, Debug)]
pub(super) struct Parameters {
    filter: Option<String>,
    #[serde(default)]
    full_state: bool,
    #[serde(default)]
    set_presence: Presence,
    since: Option<String>,
    #[serde(default)]
    timeout: u64,
    use_state_after: Option<bool>,
    /// The same, as clients called it before the specification had it.
    #[serde(rename = "org.matrix.msc4222.use_state_after")]
    unstable_use_state_after: Option<bool>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>
pub(super) async fn sync(
    GuestOrUser(requester): GuestOrUser,
    Query(parameters): Query<Parameters>,
    State(filters): State<Arc<Filters>>,
    State(sync): State<Arc<Sync>>,
    State(presences): State<Arc<Presences>>,
) -> ClientResult<Response> {
    let since = match parameters.since.as_deref().filter(|since| !since.is_empty()) {
        Some(token) => {
            let position = parse_token(token);
            Some(position.ok_or_else(|| ApiError::invalid_param("since: this is not a token of this server's /sync"))?)
        }
        None => None,
    };
    let wants = Wants {
        filter: Box::pin(filter(&filters, &requester, parameters.filter.as_deref())).await?,
        full_state: parameters.full_state,
        state_after: parameters.use_state_after.or(parameters.unstable_use_state_after).unwrap_or_default(),
    };
    let request = SyncRequest {
        since,
        received_to_device: parameters.since.as_deref().and_then(parse_to_device),
        timeout: Duration::from_millis(parameters.timeout),
        wants,
    };
    let _connected = presences.connect(&requester, parameters.set_presence.into()).await;
    let answer = Box::pin(sync.sync(&requester, &request)).await?;
    if requester.has_left() {
        return Err(
            ApiError::unknown_token("The session was ended while this request waited: log in again", false).into()
        );
    }
    Ok(match answer {
        SyncBody::Whole(json) => json_bytes(json),
        SyncBody::Pieces(first, rest) => json_bytes(Body::from_stream(pieces(first, rest))),
    })
}

/// The pieces of a body. An error ends the stream, and with it the connection.
fn pieces(first: Bytes, rest: LaterPieces) -> impl Stream<Item = Result<Bytes, RoomError>> {
    let rest = stream::unfold(Some(rest), |rest| async move {
        let mut rest = rest?;
        let piece = rest.next().await?;
        if let Err(error) = &piece {
            tracing::error!(%error, "an answer to /sync could not be finished");
            return Some((piece, None));
        }
        Some((piece, Some(rest)))
    });
    stream::once(async { Ok(first) }).chain(rest)
}

/// The filter given as JSON, or under which a filter is stored.
async fn filter(filters: &Filters, requester: &Requester, filter: Option<&str>) -> ApiResult<Arc<FilterDefinition>> {
    let given = match filter.map(str::trim).filter(|filter| !filter.is_empty()) {
        None => return Ok(filters.everything()),
        Some(json) if json.starts_with('{') => parse(json).map(Arc::new),
        Some(filter_id) => filters.definition(requester.user_sn, filter_id).await,
    };
    given.map_err(|error| match error {
        FilterError::Storage(error) => error.into(),
        error => ApiError::invalid_param(format!("filter: {error}")),
    })
}
