//! `POST /_matrix/client/v3/account/3pid/add`

use std::sync::Arc;

use accounts::asking::Asker;
use accounts::threepids::ThirdPartyIdentifiers;
use accounts::uia::{Asked, Auth, Operation, Parameters, UserInteractiveAuth, unchanged};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{Authenticated, Json, Object};

/// The longest session ID and client secret, in bytes.
const MAX_BYTES: usize = 255;

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    auth: Option<Object<Auth>>,
    /// These two are needed in the first request.
    #[serde(default)]
    client_secret: Option<String>,
    #[serde(default)]
    sid: Option<String>,
}

/// The validation session, remembered between the stages.
#[derive(Clone, Default, Serialize, Deserialize)]
struct AddedAddress {
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    client_secret: Option<String>,
}

impl Parameters for AddedAddress {
    /// What was authorised for one address is not authorised for another.
    fn complete(self, before: Self) -> Option<Self> {
        let sid = unchanged(self.sid, before.sid)?;
        Some(Self { sid, client_secret: unchanged(self.client_secret, before.client_secret)? })
    }

    fn repeat(&self, done: &Self) -> bool {
        self.clone().complete(done.clone()).is_some()
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd>
pub(crate) async fn add(
    Authenticated(requester): Authenticated,
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Empty>> {
    if !threepids.email_enabled() {
        return Err(ApiError::threepid_medium_not_supported("This server does not validate e-mail addresses").into());
    }
    for (key, value) in [("sid", &body.sid), ("client_secret", &body.client_secret)] {
        if body.auth.is_none() && value.is_none() {
            return Err(ApiError::bad_json(format!("{key}: missing field")).into());
        }
        if value.as_ref().is_some_and(|value| value.len() > MAX_BYTES) {
            return Err(ApiError::invalid_param(format!("{key}: at most {MAX_BYTES} bytes")).into());
        }
    }
    let (operation, asker) = (Operation::AddThreepid, Asker::User(&requester));
    let auth = body.auth.as_ref().map(|auth| &auth.0);
    let asked = Asked::from(AddedAddress { sid: body.sid, client_secret: body.client_secret });
    if user_interactive_auth.outcome(operation, asker, &asked, auth).await?.is_some() {
        return Ok(Json(Empty {}));
    }
    let authorised = user_interactive_auth.authorise(operation, asker, asked, auth).await?;
    let AddedAddress { sid, client_secret } = authorised.parameters;
    let (Some(sid), Some(client_secret)) = (sid, client_secret) else {
        return Err(ApiError::bad_json("sid, client_secret: missing field").into());
    };
    threepids.add(&requester, &sid, &client_secret).await?;
    user_interactive_auth.finish(authorised.authorisation.finishing).await?;
    Ok(Json(Empty {}))
}
