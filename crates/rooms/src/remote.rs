//! Queries to other servers.

use std::sync::Arc;
use std::time::Duration;

use accounts::asking::{Asker, AskingError, Shares};
use accounts::rate_limits::{LimitedAction, RateLimits};
use bytes::Bytes;
use federation::{Client, Outgoing, RequestError, Signing};
use http::Method;
use ruma::{OwnedRoomId, OwnedServerName, RoomAliasId, ServerName, UserId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tasks::limits::Limit;
use url::form_urlencoded;

use crate::directory::{DirectoryPage, DirectoryQuery};

/// The longest page of a directory.
const MAX_DIRECTORY_BYTES: usize = 2 << 20;
/// How long another server may take for a page of its directory.
const DIRECTORY_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer to a query: a profile has at most 64 KiB, and JSON escapes may make it longer.
const MAX_ANSWER_BYTES: usize = 256 << 10;
/// The most servers of a [`RemoteAlias`].
const MAX_SERVERS: usize = 100;

/// Asks other servers about their users and aliases.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#querying-for-information>
pub struct RemoteQueries {
    client: Arc<Client>,
    limit: Arc<Limit>,
    shares: Shares,
}

/// The room of an alias of another server.
#[derive(Debug)]
pub struct RemoteAlias {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers in the room, as the server of the alias says.
    pub servers: Vec<OwnedServerName>,
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The other server does not have it.
    #[error("{0} knows nothing of this")]
    NotFound(OwnedServerName),
    /// The other server was not asked.
    #[error(transparent)]
    Asking(#[from] AskingError),
    /// The request failed, or its answer was bad.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl RemoteQueries {
    /// Queries by `client`. `limit` bounds how many run at once, and an asker gets a share of it.
    #[must_use]
    pub fn new(client: Arc<Client>, limit: Arc<Limit>, rate_limits: Arc<RateLimits>) -> Self {
        let shares = Shares::new(LimitedAction::RemoteQueries, rate_limits, limit.clone());
        Self { client, limit, shares }
    }

    /// The profile of a user of another server, or one `field` of it.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile>
    ///
    /// # Errors
    /// [`RemoteError`]; [`RemoteError::NotFound`] also if there is a profile without the field.
    pub async fn profile(
        &self,
        asker: Asker<'_>,
        user_id: &UserId,
        field: Option<&str>,
    ) -> Result<Map<String, Value>, RemoteError> {
        let server = user_id.server_name();
        let mut parameters = vec![("user_id", user_id.as_str())];
        parameters.extend(field.map(|field| ("field", field)));
        let mut profile: Map<String, Value> = self.ask(asker, server, "profile", &parameters).await?;
        let Some(field) = field else { return Ok(profile) };
        match profile.remove(field) {
            None | Some(Value::Null) => Err(RemoteError::NotFound(server.to_owned())),
            Some(value) => Ok(Map::from_iter([(field.to_owned(), value)])),
        }
    }

    /// The room of an alias of another server.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory>
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn alias(&self, asker: Asker<'_>, alias: &RoomAliasId) -> Result<RemoteAlias, RemoteError> {
        #[derive(Deserialize)]
        struct Answer {
            room_id: OwnedRoomId,
            servers: Vec<String>,
        }
        let server = alias.server_name();
        let answer: Answer = self.ask(asker, server, "directory", &[("room_alias", alias.as_str())]).await?;
        // Invalid server names are left out.
        let servers = answer.servers.iter().filter_map(|name| ServerName::parse(name.as_str()).ok());
        let servers = servers.take(MAX_SERVERS).collect();
        Ok(RemoteAlias { room_id: answer.room_id, servers })
    }

    /// A page of the directory of another server.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms>
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn public_rooms(
        &self,
        asker: Asker<'_>,
        server: &ServerName,
        query: &DirectoryQuery,
    ) -> Result<DirectoryPage, RemoteError> {
        let _share = self.shares.enter(asker).await?;
        let _permit = self.limit.enter().await.map_err(AskingError::from)?;
        let outgoing = Outgoing {
            method: Method::POST,
            server,
            uri: "/_matrix/federation/v1/publicRooms",
            body: Some(Bytes::from(directory_request(query).to_string())),
            limit_bytes: MAX_DIRECTORY_BYTES,
            timeout: DIRECTORY_TIMEOUT,
        };
        let json = self.client.insist(&outgoing).await?;
        let bad = |error: serde_json::Error| RequestError::bad_answer(server, &error.to_string());
        Ok(serde_json::from_slice(&json).map_err(bad)?)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        asker: Asker<'_>,
        server: &ServerName,
        what: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, RemoteError> {
        let _share = self.shares.enter(asker).await?;
        let _permit = self.limit.enter().await.map_err(AskingError::from)?;
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let uri = format!("/_matrix/federation/v1/query/{what}?{query}");
        let json = match self.client.get(server, &uri, Signing::Signed, MAX_ANSWER_BYTES).await {
            Err(error) if error.is_not_found() => return Err(RemoteError::NotFound(server.to_owned())),
            answer => answer?,
        };
        let bad = |error: serde_json::Error| RequestError::bad_answer(server, &error.to_string());
        Ok(serde_json::from_slice(&json).map_err(bad)?)
    }
}

fn directory_request(query: &DirectoryQuery) -> Value {
    let DirectoryQuery { limit, since, search_term, room_types } = query;
    let mut filter = Map::new();
    filter.extend(search_term.as_ref().map(|term| ("generic_search_term".to_owned(), json!(term))));
    filter.extend(room_types.as_ref().map(|types| ("room_types".to_owned(), json!(types))));
    let mut request = Map::from_iter([("filter".to_owned(), Value::Object(filter))]);
    request.extend(limit.map(|limit| ("limit".to_owned(), json!(limit))));
    request.extend(since.as_ref().map(|since| ("since".to_owned(), json!(since))));
    Value::Object(request)
}
