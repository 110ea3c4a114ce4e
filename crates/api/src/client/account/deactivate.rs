//! `POST /_matrix/client/v3/account/deactivate`

use std::sync::Arc;

use accounts::Accounts;
use accounts::asking::Asker;
use accounts::uia::{Asked, Auth, Operation, Parameters, UserInteractiveAuth, unchanged};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Object};

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    auth: Option<Object<Auth>>,
    #[serde(default)]
    erase: Option<bool>,
}

/// What is remembered between the stages.
#[derive(Clone, Default, Serialize, Deserialize)]
struct DeactivateParameters {
    #[serde(default)]
    erase: Option<bool>,
}

impl Parameters for DeactivateParameters {
    fn complete(self, before: Self) -> Option<Self> {
        Some(Self { erase: unchanged(self.erase, before.erase)? })
    }

    /// Nobody is left to ask again.
    fn repeat(&self, _done: &Self) -> bool {
        false
    }
}

#[derive(Serialize)]
pub(crate) struct Deactivated {
    id_server_unbind_result: &'static str,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>
pub(crate) async fn deactivate(
    Authenticated(requester): Authenticated,
    State(accounts): State<Arc<Accounts>>,
    State(user_interactive_auth): State<Arc<UserInteractiveAuth>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Deactivated>> {
    let asked = Asked::from(DeactivateParameters { erase: body.erase });
    let (asker, auth) = (Asker::User(&requester), body.auth.as_ref().map(|auth| &auth.0));
    let authorised = user_interactive_auth.authorise(Operation::Deactivate, asker, asked, auth).await?;
    accounts.deactivate(&authorised.authorisation, authorised.parameters.erase.unwrap_or(false)).await?;
    // Nothing is ever bound to an identity server from here.
    Ok(Json(Deactivated { id_server_unbind_result: "no-support" }))
}
