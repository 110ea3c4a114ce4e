//! `GET /_matrix/client/v3/profile/{userId}` and `…/{keyName}`

use std::sync::Arc;

use axum::extract::State;
use ruma::OwnedUserId;
use serde_json::{Map, Value};
use services::profiles::Profiles;

use crate::error::ApiResult;
use crate::extract::{Json, Path};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid>
pub(crate) async fn whole(
    Path(user_id): Path<OwnedUserId>,
    State(profiles): State<Arc<Profiles>>,
) -> ApiResult<Json<Map<String, Value>>> {
    Ok(Json(profiles.profile(&user_id).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname>
pub(crate) async fn field(
    Path((user_id, field)): Path<(OwnedUserId, String)>,
    State(profiles): State<Arc<Profiles>>,
) -> ApiResult<Json<Map<String, Value>>> {
    let value = profiles.field(&user_id, &field).await?;
    Ok(Json(Map::from_iter([(field, value)])))
}
