//! `GET` and `PUT /_matrix/client/v1/admin/lock/{userId}` and `…/admin/suspend/{userId}`

use std::sync::Arc;

use accounts::moderation::Moderation;
use axum::extract::State;
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};

use crate::client::error::ClientResult;
use crate::extract::{Administrator, Json, Path};

#[derive(Serialize, Deserialize)]
pub(crate) struct Lock {
    locked: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Suspension {
    suspended: bool,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminlockuserid>
pub(crate) async fn lock(
    Administrator(_): Administrator,
    Path(user_id): Path<OwnedUserId>,
    State(moderation): State<Arc<Moderation>>,
) -> ClientResult<Json<Lock>> {
    Ok(Json(Lock { locked: moderation.standing_of_user(&user_id).await?.is_locked }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid>
pub(crate) async fn set_lock(
    Administrator(_): Administrator,
    Path(user_id): Path<OwnedUserId>,
    State(moderation): State<Arc<Moderation>>,
    Json(lock): Json<Lock>,
) -> ClientResult<Json<Lock>> {
    moderation.set_locked(&user_id, lock.locked).await?;
    Ok(Json(lock))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminsuspenduserid>
pub(crate) async fn suspension(
    Administrator(_): Administrator,
    Path(user_id): Path<OwnedUserId>,
    State(moderation): State<Arc<Moderation>>,
) -> ClientResult<Json<Suspension>> {
    Ok(Json(Suspension { suspended: moderation.standing_of_user(&user_id).await?.is_suspended }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid>
pub(crate) async fn set_suspension(
    Administrator(_): Administrator,
    Path(user_id): Path<OwnedUserId>,
    State(moderation): State<Arc<Moderation>>,
    Json(suspension): Json<Suspension>,
) -> ClientResult<Json<Suspension>> {
    moderation.set_suspended(&user_id, suspension.suspended).await?;
    Ok(Json(suspension))
}
