//! `GET /_matrix/key/v2/server`, and `/_matrix/key/v2/query`, by which this server vouches for the keys of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use accounts::asking::{Asker, Shares};
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use federation::{OwnKeys, ServerKeys, WantedKeys};
use futures::{StreamExt as _, stream};
use homeserver_core::Timestamp;
use ruma::OwnedServerName;
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};
use crate::extract::{ClientAddress, Json, Path, Query, json_bytes};
use crate::federation::error::FederationResult;

/// The most servers that are asked for at once.
const MAX_SERVERS: usize = 100;
/// How many of them are looked up side by side.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
pub(crate) struct Validity {
    minimum_valid_until_ts: Option<i64>,
}

#[derive(Deserialize)]
pub(crate) struct OfServers {
    /// By server and key ID.
    server_keys: BTreeMap<OwnedServerName, BTreeMap<String, Criteria>>,
}

#[derive(Deserialize)]
struct Criteria {
    minimum_valid_until_ts: Option<i64>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server>
pub(crate) async fn own(State(keys): State<Arc<OwnKeys>>) -> FederationResult<Response> {
    let document = keys.document().map_err(|error| ApiError::internal("Signing the server's keys", &error))?;
    Ok(json_bytes(document))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername>
pub(crate) async fn of_server(
    address: ClientAddress,
    Path(server_name): Path<OwnedServerName>,
    Query(validity): Query<Validity>,
    State(keys): State<Arc<ServerKeys>>,
    State(shares): State<Arc<Shares>>,
) -> FederationResult<Response> {
    let valid_until = validity.minimum_valid_until_ts.map(Timestamp);
    let wanted = WantedKeys { server: &server_name, key_ids: &[], valid_until };
    let document = vouched(&keys, &shares, address, &wanted).await?;
    Ok(answer(document.as_slice()))
}

/// As [`of_server`], by the path of former versions, which names a key too.
pub(crate) async fn of_server_with_key(
    address: ClientAddress,
    Path((server_name, key_id)): Path<(OwnedServerName, String)>,
    Query(validity): Query<Validity>,
    State(keys): State<Arc<ServerKeys>>,
    State(shares): State<Arc<Shares>>,
) -> FederationResult<Response> {
    let valid_until = validity.minimum_valid_until_ts.map(Timestamp);
    let wanted = WantedKeys { server: &server_name, key_ids: &[&key_id], valid_until };
    let document = vouched(&keys, &shares, address, &wanted).await?;
    Ok(answer(document.as_slice()))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query>
pub(crate) async fn of_servers(
    address: ClientAddress,
    State(keys): State<Arc<ServerKeys>>,
    State(shares): State<Arc<Shares>>,
    Json(body): Json<OfServers>,
) -> FederationResult<Response> {
    if body.server_keys.len() > MAX_SERVERS {
        let sentence = format!("server_keys: the keys of {MAX_SERVERS} servers at most are told at once");
        return Err(ApiError::too_large(sentence).into());
    }
    let (keys, shares) = (&keys, &shares);
    let look_up = |(server, wanted): (OwnedServerName, BTreeMap<String, Criteria>)| async move {
        let key_ids: Vec<&str> = wanted.keys().map(String::as_str).collect();
        let valid_until = wanted.values().filter_map(|criteria| criteria.minimum_valid_until_ts).max().map(Timestamp);
        let wanted = WantedKeys { server: &server, key_ids: &key_ids, valid_until };
        vouched(keys, shares, address, &wanted).await
    };
    let documents: Vec<ApiResult<Option<Bytes>>> =
        stream::iter(body.server_keys).map(look_up).buffered(AT_ONCE).collect().await;
    let documents: Vec<Bytes> = documents.into_iter().filter_map(Result::transpose).collect::<ApiResult<_>>()?;
    Ok(answer(&documents))
}

/// The document of a server, signed by this one too. Having another server asked counts for the address that wants it.
async fn vouched(
    keys: &ServerKeys,
    shares: &Shares,
    ClientAddress(address): ClientAddress,
    wanted: &WantedKeys<'_>,
) -> ApiResult<Option<Bytes>> {
    let share = match keys.must_ask_for(wanted).await {
        true => Some(shares.enter(Asker::Address(address)).await?),
        false => None,
    };
    Ok(keys.vouch(wanted, share.is_some()).await)
}

/// The documents as they are.
fn answer(documents: &[Bytes]) -> Response {
    let before: &[u8] = br#"{"server_keys":["#;
    let documents = documents.join(&b","[..]);
    json_bytes([before, &documents, b"]}"].concat())
}
