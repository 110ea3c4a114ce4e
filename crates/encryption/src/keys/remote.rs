//! Keys of users of other servers. Nothing of them is kept: their servers are asked each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use accounts::asking::{Asker, AskingError, Shares};
use bytes::Bytes;
use federation::{Client, Outgoing};
use futures::{FutureExt as _, StreamExt as _, stream};
use http::Method;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, OwnedUserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tasks::limits::Limit;

use super::claim::{ClaimAnswer, NamedKeys};
use super::query::QueryAnswer;
use super::{WantedDevices, WantedKeys};

/// The most servers that are asked for one request, and how many of them side by side.
const MAX_SERVERS: usize = 200;
const AT_ONCE: usize = 16;
/// The longest answer of one server.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Servers that could not be asked, by name.
pub type Failures = BTreeMap<OwnedServerName, Failure>;

/// Why a server could not be asked.
#[derive(Serialize, Debug)]
pub struct Failure {
    error: String,
}

/// Asks other servers for the keys of their users.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption>
pub struct RemoteKeys {
    client: Arc<Client>,
    limit: Arc<Limit>,
    shares: Shares,
}

#[derive(Deserialize)]
struct Queried {
    #[serde(default)]
    device_keys: BTreeMap<OwnedUserId, BTreeMap<Box<str>, Box<RawValue>>>,
    #[serde(default)]
    master_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    #[serde(default)]
    self_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
}

#[derive(Deserialize)]
struct Claimed {
    #[serde(default)]
    one_time_keys: BTreeMap<OwnedUserId, BTreeMap<Box<str>, NamedKeys>>,
}

impl RemoteKeys {
    /// Asks by `client`. `limit` bounds how many requests run at once, and an asker gets one of `shares`.
    #[must_use]
    pub fn new(client: Arc<Client>, limit: Arc<Limit>, shares: Shares) -> Self {
        Self { client, limit, shares }
    }

    /// Adds the keys of users of other servers to an answer. Servers may take `timeout`.
    ///
    /// # Errors
    /// [`AskingError`] if the asker asks too often. A server that cannot be asked is one of the answer's failures.
    pub async fn query(
        &self,
        asker: Asker<'_>,
        wanted: WantedDevices,
        timeout: Duration,
        answer: &mut QueryAnswer,
    ) -> Result<(), AskingError> {
        let asked = self.ask_all::<_, Queried>(asker, "query", "device_keys", wanted, timeout, &mut answer.failures);
        for (wanted, queried) in asked.await? {
            answer.add_remote(&wanted, queried);
        }
        Ok(())
    }

    /// Adds one key of each device of users of other servers to an answer. Servers may take `timeout`.
    ///
    /// # Errors
    /// [`AskingError`] if the asker asks too often. A server that cannot be asked is one of the answer's failures.
    pub async fn claim(
        &self,
        asker: Asker<'_>,
        wanted: WantedKeys,
        timeout: Duration,
        answer: &mut ClaimAnswer,
    ) -> Result<(), AskingError> {
        let asked = self.ask_all::<_, Claimed>(asker, "claim", "one_time_keys", wanted, timeout, &mut answer.failures);
        for (wanted, claimed) in asked.await? {
            answer.add_remote(&wanted, claimed);
        }
        Ok(())
    }

    /// Asks each server about its users. Returns what was wanted of each, and its answer.
    async fn ask_all<W: Serialize + Send, T: DeserializeOwned + Send>(
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

impl QueryAnswer {
    /// Adds what another server tells of the users that it was asked about. The rest of it is left out.
    fn add_remote(&mut self, wanted: &WantedDevices, queried: Queried) {
        let Queried { device_keys, master_keys, self_signing_keys } = queried;
        for (user_id, devices) in device_keys {
            let Some(wanted) = wanted.get(&user_id) else { continue };
            let is_wanted = |device_id: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == device_id);
            let sound = devices.into_iter().filter(|(device_id, keys)| {
                is_wanted(device_id) && is_of(keys, &[("user_id", user_id.as_str()), ("device_id", &**device_id)])
            });
            let sound = sound.collect();
            self.device_keys.insert(user_id, sound);
        }
        for (told, shown) in [(master_keys, &mut self.master_keys), (self_signing_keys, &mut self.self_signing_keys)] {
            let is_sound = |user_id: &OwnedUserId, key: &RawValue| {
                wanted.contains_key(user_id) && is_of(key, &[("user_id", user_id.as_str())])
            };
            shown.extend(told.into_iter().filter(|(user_id, key)| is_sound(user_id, key)));
        }
    }
}

impl ClaimAnswer {
    /// Adds what another server tells of the devices that it was asked about. The rest of it is left out.
    fn add_remote(&mut self, wanted: &WantedKeys, claimed: Claimed) {
        for (user_id, devices) in claimed.one_time_keys {
            let Some(wanted) = wanted.get(&user_id) else { continue };
            for (device_id, mut keys) in devices {
                if !wanted.contains_key(&*device_id) {
                    continue;
                }
                keys.retain(|_, key| serde_json::from_str::<CanonicalJsonValue>(key.get()).is_ok());
                self.one_time_keys.entry(user_id.as_str().into()).or_default().insert(device_id, keys);
            }
        }
    }
}

/// Whether a text is a JSON object that clients can read, and has these values.
fn is_of(keys: &RawValue, expected: &[(&str, &str)]) -> bool {
    let keys: Result<CanonicalJsonObject, _> = serde_json::from_str(keys.get());
    let has = |keys: &CanonicalJsonObject, key: &str, value: &str| {
        keys.get(key).is_some_and(|found| found.as_str() == Some(value))
    };
    keys.is_ok_and(|keys| expected.iter().all(|(key, value)| has(&keys, key, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> OwnedUserId {
        text.try_into().unwrap()
    }

    #[test]
    fn only_what_was_asked_for_and_is_sound_is_shown() {
        let (bob, eve) = (user("@bob:b.example"), user("@eve:c.example"));
        let wanted = BTreeMap::from_iter([(bob.clone(), Vec::new())]);
        let keys = |user_id: &OwnedUserId, device_id: &str| json!({ "user_id": user_id, "device_id": device_id });
        let told = json!({
            "device_keys": {
                bob.as_str(): { "A": keys(&bob, "A"), "B": keys(&bob, "other"), "C": keys(&eve, "C"), "D": 5, "E": { "x": 1.5 } },
                eve.as_str(): { "A": keys(&eve, "A") },
            },
            "master_keys": { bob.as_str(): { "user_id": bob, "keys": {} }, eve.as_str(): { "user_id": eve } },
            "self_signing_keys": { bob.as_str(): { "user_id": eve } },
        });
        let mut answer = QueryAnswer::default();
        answer.add_remote(&wanted, serde_json::from_value(told).unwrap());
        let shown = serde_json::to_value(&answer).unwrap();
        assert_eq!(shown["device_keys"], json!({ bob.as_str(): { "A": keys(&bob, "A") } }));
        assert_eq!(shown["master_keys"], json!({ bob.as_str(): { "user_id": bob, "keys": {} } }));
        assert_eq!((&shown["self_signing_keys"], &shown["failures"]), (&json!({}), &json!({})));
    }

    #[test]
    fn only_keys_of_devices_that_were_asked_for_are_handed_on() {
        let bob = user("@bob:b.example");
        let wanted = BTreeMap::from_iter([(bob.clone(), BTreeMap::from_iter([("A".to_owned(), "x".to_owned())]))]);
        let told =
            json!({ "one_time_keys": { bob.as_str(): { "A": { "x:1": "key", "x:2": 1.5 }, "B": { "x:1": "key" } } } });
        let mut answer = ClaimAnswer::default();
        answer.add_remote(&wanted, serde_json::from_value(told).unwrap());
        let shown = serde_json::to_value(&answer).unwrap();
        assert_eq!(shown["one_time_keys"], json!({ bob.as_str(): { "A": { "x:1": "key" } } }));
    }
}
