//! `GET /_matrix/federation/v1/query/…`

use std::sync::Arc;

use accounts::profiles::Profiles;
use axum::extract::State;
use homeserver_core::Identity;
use rooms::Aliases;
use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::from_server::FromServer;
use crate::error::ApiError;
use crate::extract::{Json, Path, Query};
use crate::federation::error::FederationResult;

#[derive(Deserialize)]
pub(crate) struct OfAlias {
    room_alias: OwnedRoomAliasId,
}

#[derive(Serialize)]
pub(crate) struct Resolved {
    room_id: OwnedRoomId,
    servers: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct OfUser {
    user_id: OwnedUserId,
    field: Option<String>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory>
pub(crate) async fn directory(
    _: FromServer,
    Query(query): Query<OfAlias>,
    State(aliases): State<Arc<Aliases>>,
) -> FederationResult<Json<Resolved>> {
    // Of aliases of other servers it knows nothing.
    let (room_id, servers) = aliases.resolve(&query.room_alias).await?;
    Ok(Json(Resolved { room_id, servers }))
}

/// Types that this server has nothing of.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryquerytype>
pub(crate) async fn other(_: FromServer, Path(query_type): Path<String>) -> ApiError {
    ApiError::not_found(format!("This server answers no queries of type {query_type:?}"))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile>
pub(crate) async fn profile(
    _: FromServer,
    Query(query): Query<OfUser>,
    State(identity): State<Arc<Identity>>,
    State(profiles): State<Arc<Profiles>>,
) -> FederationResult<Json<Map<String, Value>>> {
    if !identity.is_local(&query.user_id) {
        return Err(ApiError::invalid_param("user_id: the user is not one of this server").into());
    }
    Ok(Json(match query.field {
        None => profiles.profile(&query.user_id).await?,
        Some(field) => {
            let value = profiles.field(&query.user_id, &field).await?;
            Map::from_iter([(field, value)])
        }
    }))
}
