//! `GET /_matrix/client/v3/profile/{userId}` and `…/{keyName}`

use std::sync::Arc;

use accounts::profiles::{self, Profiles};
use axum::extract::State;
use homeserver_core::Identity;
use rooms::remote::RemoteQueries;
use ruma::OwnedUserId;
use serde_json::{Map, Value};

use crate::client::error::ClientResult;
use crate::extract::{AskedBy, Json, Path};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid>
pub(crate) async fn whole(
    asked_by: AskedBy,
    Path(user_id): Path<OwnedUserId>,
    State(identity): State<Arc<Identity>>,
    State(profiles): State<Arc<Profiles>>,
    State(remote): State<Arc<RemoteQueries>>,
) -> ClientResult<Json<Map<String, Value>>> {
    if !identity.is_local(&user_id) {
        return Ok(Json(remote.profile(asked_by.asker(), &user_id, None).await?));
    }
    Ok(Json(profiles.profile(&user_id).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname>
pub(crate) async fn field(
    asked_by: AskedBy,
    Path((user_id, field)): Path<(OwnedUserId, String)>,
    State(identity): State<Arc<Identity>>,
    State(profiles): State<Arc<Profiles>>,
    State(remote): State<Arc<RemoteQueries>>,
) -> ClientResult<Json<Map<String, Value>>> {
    if !identity.is_local(&user_id) {
        profiles::check_name(&field)?;
        return Ok(Json(remote.profile(asked_by.asker(), &user_id, Some(&field)).await?));
    }
    let value = profiles.field(&user_id, &field).await?;
    Ok(Json(Map::from_iter([(field, value)])))
}
