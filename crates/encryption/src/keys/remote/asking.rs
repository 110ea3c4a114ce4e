//! Asking several servers side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use accounts::asking::{Asker, AskingError};
use bytes::Bytes;
use federation::Outgoing;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::Method;
use ruma::{OwnedServerName, OwnedUserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::super::claim::NamedKeys;
use super::{Failure, Failures, RemoteKeys};

/// The most servers that are asked for one request, and how many of them side by side.
const MAX_SERVERS: usize = 200;
const AT_ONCE: usize = 16;
/// The longest answer of one server.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// What a server answers to `/user/keys/query`.
#[derive(Deserialize)]
pub(super) struct Queried {
    #[serde(default)]
    pub(super) device_keys: BTreeMap<OwnedUserId, BTreeMap<Box<str>, Box<RawValue>>>,
    #[serde(default)]
    pub(super) master_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    #[serde(default)]
    pub(super) self_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
}

/// What a server answers to `/user/keys/claim`.
#[derive(Deserialize)]
pub(super) struct Claimed {
    #[serde(default)]
    pub(super) one_time_keys: BTreeMap<OwnedUserId, BTreeMap<Box<str>, NamedKeys>>,
}

impl RemoteKeys {
    /// Asks each server about its users. Returns what was wanted of each, and its answer.
    pub(super) async fn ask_all<W: Serialize + Send, T: DeserializeOwned + Send>(
        &self,
        asker: Asker<'_>,
        what: &str,
        key: &str,
        wanted: BTreeMap<OwnedUserId, W>,
        timeout: Duration,
        failures: &mut Failures,
    ) -> Result<Vec<(BTreeMap<OwnedUserId, W>, T)>, AskingError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let _share = self.shares.enter(asker).await?;
        let mut by_server: BTreeMap<OwnedServerName, BTreeMap<OwnedUserId, W>> = BTreeMap::new();
        for (user_id, wanted) in wanted {
            by_server.entry(user_id.server_name().to_owned()).or_default().insert(user_id, wanted);
        }
        let surplus: BTreeSet<_> = by_server.keys().skip(MAX_SERVERS).cloned().collect();
        by_server.retain(|server, _| !surplus.contains(server));
        let sentence = || format!("At most {MAX_SERVERS} servers are asked at once");
        failures.extend(surplus.into_iter().map(|server| (server, Failure { error: sentence() })));
        let requests: Vec<_> = by_server
            .into_iter()
            .map(|(server, wanted)| {
                async move {
                    let body = json!({ key: wanted }).to_string();
                    let answer = self.ask(&server, what, body, timeout).await;
                    (server, wanted, answer)
                }
                .boxed()
            })
            .collect();
        let answers: Vec<_> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
        let mut told = Vec::new();
        for (server, wanted, answer) in answers {
            match answer {
                Ok(answer) => told.push((wanted, answer)),
                Err(error) => drop(failures.insert(server, Failure { error })),
            }
        }
        Ok(told)
    }

    /// Asks one server; the error is a sentence for the client.
    async fn ask<T: DeserializeOwned>(
        &self,
        server: &OwnedServerName,
        what: &str,
        body: String,
        timeout: Duration,
    ) -> Result<T, String> {
        let _permit = self.limit.enter().await.map_err(|error| error.to_string())?;
        let outgoing = Outgoing {
            method: Method::POST,
            server,
            uri: &format!("/_matrix/federation/v1/user/keys/{what}"),
            body: Some(Bytes::from(body)),
            limit_bytes: MAX_ANSWER_BYTES,
            timeout,
        };
        let answer = self.client.insist(&outgoing).await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&answer).map_err(|error| format!("{server} answers with what cannot be read: {error}"))
    }
}
