//! `POST /_matrix/client/v3/keys/device_signing/upload`

use std::sync::Arc;

use accounts::asking::Asker;
use accounts::uia::{Asked, Auth, Operation, Parameters, UserInteractiveAuth, unchanged};
use axum::extract::State;
use encryption::keys::{CrossSigningError, CrossSigningUpload, Keys};
use http::StatusCode;
use ruma::CanonicalJsonObject;
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{Authenticated, Json, Object};

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    auth: Option<Object<Auth>>,
    #[serde(default)]
    master_key: Option<CanonicalJsonObject>,
    #[serde(default)]
    self_signing_key: Option<CanonicalJsonObject>,
    #[serde(default)]
    user_signing_key: Option<CanonicalJsonObject>,
}

/// The keys to be stored. A client that completes a stage may leave them out.
#[derive(Clone, Default, Serialize, Deserialize)]
struct NewKeys {
    #[serde(default)]
    keys: Option<CrossSigningUpload>,
}

impl Parameters for NewKeys {
    fn complete(self, before: Self) -> Option<Self> {
        Some(Self { keys: unchanged(self.keys, before.keys)? })
    }

    fn repeat(&self, done: &Self) -> bool {
        self.keys.is_none() || self.keys == done.keys
    }
}

/// Replacing stored keys needs authentication. Uploading the first keys, or the stored ones again, does not.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload>
pub(crate) async fn upload(
    Authenticated(requester): Authenticated,
    State(keys): State<Arc<Keys>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Empty>> {
    let Body { auth, master_key, self_signing_key, user_signing_key } = body;
    let auth = auth.as_ref().map(|auth| &auth.0);
    let upload = CrossSigningUpload { master_key, self_signing_key, user_signing_key };
    let is_empty = upload == CrossSigningUpload::default();
    if is_empty && auth.is_none() {
        return Err(ApiError::missing_param("master_key: there is no key to upload").into());
    }
    if !is_empty && !keys.replaces_cross_signing(&requester, &upload).await? {
        keys.upload_cross_signing(&requester, &upload, false).await?;
        return Ok(Json(Empty {}));
    }
    let (operation, asker) = (Operation::ReplaceCrossSigningKeys, Asker::User(&requester));
    let asked = Asked::from(NewKeys { keys: (!is_empty).then_some(upload) });
    if user_interactive_auth.outcome(operation, asker, &asked, auth).await?.is_some() {
        return Ok(Json(Empty {}));
    }
    let authorised = Box::pin(user_interactive_auth.authorise(operation, asker, asked, auth)).await?;
    let upload = authorised.parameters.keys.unwrap_or_default();
    keys.upload_cross_signing(&requester, &upload, true).await?;
    user_interactive_auth.finish(authorised.authorisation.finishing).await?;
    Ok(Json(Empty {}))
}

impl From<CrossSigningError> for ClientError {
    fn from(error: CrossSigningError) -> Self {
        Self(match error {
            CrossSigningError::Malformed(_) => ApiError::bad_json(error.to_string()),
            CrossSigningError::OtherUser(_) => ApiError::invalid_param(error.to_string()),
            CrossSigningError::NoMasterKey => ApiError::missing_param(error.to_string()),
            CrossSigningError::NotSigned(_) => {
                ApiError::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", error.to_string())
            }
            CrossSigningError::IsDevice(_) | CrossSigningError::Exists => ApiError::forbidden(error.to_string()),
            CrossSigningError::Storage(error) => error.into(),
        })
    }
}
