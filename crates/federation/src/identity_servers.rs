//! Requests to identity servers, which know to whom addresses belong.
//!
//! Which one is asked is what a client says, with a token that the client has of it. It is reached like another homeserver: never in a
//! private network, and an error does not tell why it was not reached.
//!
//! <https://spec.matrix.org/v1.19/identity-service-api/>

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use ruma::{OwnedServerName, OwnedUserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::transport::Web;

/// The longest answer.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How long an identity server may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest text of an answer that goes into an event.
const MAX_TEXT_BYTES: usize = 2 << 10;
/// The longest state key.
const MAX_TOKEN_BYTES: usize = 255;
/// The most keys of an invitation.
const MAX_KEYS: usize = 10;

/// Asks identity servers.
pub struct IdentityServers {
    web: Web,
    is_enabled: bool,
}

/// An identity server, as a client names it.
#[derive(Clone, Debug, Deserialize)]
pub struct IdentityServer {
    /// Its host, and its port if that is not 443.
    #[serde(rename = "id_server")]
    pub name: OwnedServerName,
    /// The token by which it knows the user.
    #[serde(rename = "id_access_token")]
    pub access_token: String,
}

/// How addresses are hashed for a look-up.
#[derive(Debug, Deserialize)]
pub struct HashDetails {
    /// What is hashed with an address.
    pub lookup_pepper: String,
    /// `sha256`, or `none` for no hash.
    pub algorithms: Vec<String>,
}

/// An invitation that an identity server keeps until somebody proves to own the address.
#[derive(Debug, Deserialize)]
pub struct StoredInvite {
    /// The state key of the `m.room.third_party_invite`.
    pub token: String,
    /// The address, such that others cannot read it.
    pub display_name: String,
    /// The keys that sign for the owner.
    pub public_keys: Vec<InviteKey>,
}

/// A key that signs for the owner of an invited address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InviteKey {
    /// The key, in base64.
    pub public_key: String,
    /// Where one asks whether it is still good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_validity_url: Option<String>,
}

/// Why an identity server did not answer. The texts are sentences for the user.
#[derive(Debug, thiserror::Error)]
pub enum IdentityServerError {
    /// The configuration says so.
    #[error("This server does not talk to others: federation is turned off")]
    Disabled,
    /// It was not found, did not let itself be connected to, or did not answer in time.
    #[error("The identity server {0} cannot be reached")]
    Unreachable(OwnedServerName),
    /// It answered with an error.
    #[error("The identity server {server} refuses: {sentence}")]
    Refused {
        /// The identity server.
        server: OwnedServerName,
        /// The status of its answer.
        status: StatusCode,
        /// The code of the error, if there is one.
        errcode: Option<String>,
        /// What it says.
        sentence: String,
    },
    /// It answered with what nobody understands.
    #[error("The identity server {0} answers with something else than what it was asked for")]
    BadAnswer(OwnedServerName),
}

impl IdentityServers {
    /// Identity servers that `web` reaches; none unless `is_enabled`.
    #[must_use]
    pub fn new(web: Web, is_enabled: bool) -> Self {
        Self { web, is_enabled }
    }

    /// How the identity server wants addresses to be hashed.
    ///
    /// <https://spec.matrix.org/v1.19/identity-service-api/#get_matrixidentityv2hash_details>
    ///
    /// # Errors
    /// [`IdentityServerError`].
    pub async fn hash_details(&self, server: &IdentityServer) -> Result<HashDetails, IdentityServerError> {
        self.ask(server, Method::GET, "hash_details", None).await
    }

    /// The user of an address, which is hashed as the identity server wants it.
    ///
    /// <https://spec.matrix.org/v1.19/identity-service-api/#post_matrixidentityv2lookup>
    ///
    /// # Errors
    /// [`IdentityServerError`].
    pub async fn lookup(
        &self,
        server: &IdentityServer,
        (algorithm, pepper): (&str, &str),
        hashed: &str,
    ) -> Result<Option<OwnedUserId>, IdentityServerError> {
        #[derive(Deserialize)]
        struct Answer {
            mappings: BTreeMap<String, OwnedUserId>,
        }
        let request = json!({ "algorithm": algorithm, "pepper": pepper, "addresses": [hashed] });
        let mut answer: Answer = self.ask(server, Method::POST, "lookup", Some(&request)).await?;
        Ok(answer.mappings.remove(hashed))
    }

    /// Has the identity server keep an invitation and tell the address of it. `invite` is the body of the request.
    ///
    /// <https://spec.matrix.org/v1.19/identity-service-api/#post_matrixidentityv2store-invite>
    ///
    /// # Errors
    /// [`IdentityServerError`].
    pub async fn store_invite(
        &self,
        server: &IdentityServer,
        invite: Map<String, Value>,
    ) -> Result<StoredInvite, IdentityServerError> {
        let stored: StoredInvite = self.ask(server, Method::POST, "store-invite", Some(&Value::Object(invite))).await?;
        let is_short = |text: &String| text.len() <= MAX_TEXT_BYTES;
        let is_short_key =
            |key: &InviteKey| is_short(&key.public_key) && key.key_validity_url.as_ref().is_none_or(is_short);
        let is_usable = (1..=MAX_TOKEN_BYTES).contains(&stored.token.len())
            && (1..=MAX_KEYS).contains(&stored.public_keys.len())
            && stored.public_keys.iter().all(is_short_key)
            && is_short(&stored.display_name);
        if is_usable { Ok(stored) } else { Err(IdentityServerError::BadAnswer(server.name.clone())) }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        server: &IdentityServer,
        method: Method,
        what: &str,
        body: Option<&Value>,
    ) -> Result<T, IdentityServerError> {
        if !self.is_enabled {
            return Err(IdentityServerError::Disabled);
        }
        let bad = || IdentityServerError::BadAnswer(server.name.clone());
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}/_matrix/identity/v2/{what}", server.name))
            .header(AUTHORIZATION, format!("Bearer {}", server.access_token))
            .header(CONTENT_TYPE, "application/json")
            .body(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default())
            .map_err(|_| bad())?;
        let asked = tokio::time::timeout(TIMEOUT, self.web.ask(request, MAX_ANSWER_BYTES)).await;
        let answer = asked.unwrap_or_else(|_| Err("it does not answer in time".to_owned())).map_err(|reason| {
            tracing::info!(server = %server.name, reason, "an identity server was not reached");
            IdentityServerError::Unreachable(server.name.clone())
        })?;
        if answer.status() != StatusCode::OK {
            let error: Map<String, Value> = serde_json::from_slice(answer.body()).unwrap_or_default();
            let text = |key| error.get(key).and_then(Value::as_str).map(str::to_owned);
            let sentence = text("error").unwrap_or_else(|| format!("status {}", answer.status()));
            let (server, status) = (server.name.clone(), answer.status());
            return Err(IdentityServerError::Refused { server, status, errcode: text("errcode"), sentence });
        }
        serde_json::from_slice(answer.body()).map_err(|_| bad())
    }
}
