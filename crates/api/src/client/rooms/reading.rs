//! What the endpoints that read rooms have in common.

use accounts::filters::{RoomEventFilter, parse_room_event_filter};
use event_log::tokens::{parse_place, parse_token};
use homeserver_core::{Position, TimelineOrder};
use rooms::reading::Direction;
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};

/// The direction in which a client reads.
#[derive(Clone, Copy, Deserialize, Debug)]
pub(super) enum DirectionParameter {
    #[serde(rename = "b")]
    Backwards,
    #[serde(rename = "f")]
    Forwards,
}

impl From<DirectionParameter> for Direction {
    fn from(parameter: DirectionParameter) -> Self {
        match parameter {
            DirectionParameter::Backwards => Self::Backwards,
            DirectionParameter::Forwards => Self::Forwards,
        }
    }
}

/// The position that a token in the query stands for. An empty token counts as none, as clients in use send it.
pub(super) fn position(key: &str, token: Option<&str>) -> ApiResult<Option<Position>> {
    parsed(key, token, parse_token)
}

/// The place in a timeline that a token in the query stands for. An empty token counts as none.
pub(super) fn place(key: &str, token: Option<&str>) -> ApiResult<Option<TimelineOrder>> {
    parsed(key, token, parse_place)
}

fn parsed<T>(key: &str, token: Option<&str>, parse: fn(&str) -> Option<T>) -> ApiResult<Option<T>> {
    let parse = |token| {
        let unknown = || ApiError::invalid_param(format!("{key}: this is not a token that this server gave out"));
        parse(token).ok_or_else(unknown)
    };
    token.filter(|token| !token.is_empty()).map(parse).transpose()
}

/// The filter in the query, which is JSON.
pub(super) fn room_event_filter(filter: Option<&str>) -> ApiResult<RoomEventFilter> {
    let filter = filter.filter(|filter| !filter.is_empty());
    let parsed = filter.map(parse_room_event_filter).transpose();
    Ok(parsed.map_err(|error| ApiError::invalid_param(format!("filter: {error}")))?.unwrap_or_default())
}
