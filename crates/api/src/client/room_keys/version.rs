//! `/_matrix/client/v3/room_keys/version` and `/_matrix/client/v3/room_keys/version/{version}`

use std::sync::Arc;

use axum::extract::State;
use encryption::backup::{Backups, KeyBackup};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Empty;
use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{Authenticated, Json, Path};

#[derive(Deserialize)]
pub(crate) struct Body {
    algorithm: String,
    auth_data: Box<RawValue>,
    /// Which version is meant, in a change of one.
    #[serde(default)]
    version: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct CreateAnswer {
    version: String,
}

#[derive(Serialize)]
pub(crate) struct VersionAnswer {
    algorithm: Box<str>,
    auth_data: Box<RawValue>,
    count: i64,
    etag: String,
    version: String,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion>
pub(crate) async fn create(
    Authenticated(requester): Authenticated,
    State(backups): State<Arc<Backups>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<CreateAnswer>> {
    let version = backups.create(requester.user_sn, body.algorithm, &body.auth_data).await?;
    Ok(Json(CreateAnswer { version: version.to_string() }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversion>
pub(crate) async fn newest(
    Authenticated(requester): Authenticated,
    State(backups): State<Arc<Backups>>,
) -> ClientResult<Json<VersionAnswer>> {
    answer(backups.version(requester.user_sn, None).await?)
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversionversion>
pub(crate) async fn read(
    Authenticated(requester): Authenticated,
    Path(version): Path<String>,
    State(backups): State<Arc<Backups>>,
) -> ClientResult<Json<VersionAnswer>> {
    answer(backups.version(requester.user_sn, Some(&version)).await?)
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keysversionversion>
pub(crate) async fn update(
    Authenticated(requester): Authenticated,
    Path(version): Path<String>,
    State(backups): State<Arc<Backups>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Empty>> {
    let Body { algorithm, auth_data, version: named } = body;
    backups.update(requester.user_sn, &version, &algorithm, named.as_deref(), &auth_data).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keysversionversion>
pub(crate) async fn delete(
    Authenticated(requester): Authenticated,
    Path(version): Path<String>,
    State(backups): State<Arc<Backups>>,
) -> ClientResult<Json<Empty>> {
    backups.delete(requester.user_sn, &version).await?;
    Ok(Json(Empty {}))
}

fn answer(backup: KeyBackup) -> ClientResult<Json<VersionAnswer>> {
    let KeyBackup { version, algorithm, auth_data, etag, sessions } = backup;
    let unreadable = |error: serde_json::Error| ApiError::internal("Reading a backup of keys", &error);
    let auth_data = serde_json::from_slice(&auth_data).map_err(unreadable)?;
    let (etag, version) = (etag.to_string(), version.to_string());
    Ok(Json(VersionAnswer { algorithm, auth_data, count: sessions, etag, version }))
}
