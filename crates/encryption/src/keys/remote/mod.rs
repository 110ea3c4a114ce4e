//! Keys of users of other servers.
//!
//! Their servers are asked. What they tell of users with whom a room is shared is kept, because they tell of changes for as long as one is
//! shared: [`device_lists`](crate::device_lists) keeps it up to date. One-time keys are never kept.

mod asking;
mod kept;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use accounts::asking::{Asker, AskingError, Shares};
use federation::Client;
use homeserver_core::{Position, UserSn};
use ruma::{CanonicalJsonValue, OwnedServerName, OwnedUserId, UserId};
use serde::Serialize;
use storage::{Database, Interned, RemoteDeviceList, StorageError, ToldDeviceList};
use tasks::limits::Limit;

use self::asking::{Claimed, Queried};
pub(crate) use self::kept::KeptKeys;
use super::claim::ClaimAnswer;
use super::query::QueryAnswer;
use super::{WantedDevices, WantedKeys};

/// Servers that could not be asked, by name.
pub type Failures = BTreeMap<OwnedServerName, Failure>;

/// Why a server could not be asked.
#[derive(Serialize, Debug)]
pub struct Failure {
    error: String,
}

/// Why keys of users of other servers cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum RemoteKeysError {
    /// The asker asks too often.
    #[error(transparent)]
    Asking(#[from] AskingError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Knows the keys of users of other servers, or asks for them.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption>
pub struct RemoteKeys {
    client: Arc<Client>,
    limit: Arc<Limit>,
    shares: Shares,
    database: Database,
    interned: Arc<Interned>,
}

/// A user of another server whom this one knows.
struct KnownUser {
    user_sn: UserSn,
    /// Whether a room is shared with the user.
    is_shared: bool,
    list: Option<RemoteDeviceList>,
}

impl KnownUser {
    fn keys(&self) -> Result<Option<KeptKeys>, StorageError> {
        let keys = self.list.as_ref().and_then(|list| list.keys.as_ref());
        keys.map(KeptKeys::read).transpose()
    }
}

impl RemoteKeys {
    /// Asks by `client`, and keeps in `database` what was told. `limit` bounds how many requests run at once, and an asker gets one of
    /// `shares`.
    #[must_use]
    pub fn new(
        client: Arc<Client>,
        limit: Arc<Limit>,
        shares: Shares,
        database: Database,
        interned: Arc<Interned>,
    ) -> Self {
        Self { client, limit, shares, database, interned }
    }

    /// Adds the keys of users of other servers to an answer. Servers may take `timeout`. A server that cannot be asked is one of the
    /// answer's failures; older keys of its users are added if there are any.
    ///
    /// # Errors
    /// [`RemoteKeysError`].
    pub async fn query(
        &self,
        asker: Asker<'_>,
        wanted: &WantedDevices,
        timeout: Duration,
        answer: &mut QueryAnswer,
    ) -> Result<(), RemoteKeysError> {
        if wanted.is_empty() {
            return Ok(());
        }
        // Before it is found out with whom rooms are shared: what changes afterwards has a larger position.
        let asked_at = self.database.position().await?;
        let known = self.known(wanted.keys()).await?;
        let mut to_ask = WantedDevices::new();
        for (user_id, devices) in wanted {
            match known.get(user_id) {
                Some(user) if user.list.as_ref().is_some_and(|list| list.is_current) => {
                    answer.add_kept(user_id, devices, user.keys()?.unwrap_or_default());
                }
                // All devices, because all are kept.
                Some(user) if user.is_shared => drop(to_ask.insert(user_id.clone(), Vec::new())),
                _ => drop(to_ask.insert(user_id.clone(), devices.clone())),
            }
        }
        let asked = self.ask_all(asker, "query", "device_keys", to_ask.clone(), timeout, &mut answer.failures).await?;
        let mut told = Vec::new();
        for (asked, mut queried) in asked {
            for user_id in asked.keys() {
                let (Some(keys), Some(devices)) = (take_keys(&mut queried, user_id), wanted.get(user_id)) else {
                    continue;
                };
                told.extend(self.to_be_kept(user_id, known.get(user_id), &keys, asked_at).await?);
                to_ask.remove(user_id);
                answer.add_kept(user_id, devices, keys);
            }
        }
        self.database.store_remote_device_lists(told).await?;
        for user_id in to_ask.keys() {
            let (Some(user), Some(devices)) = (known.get(user_id), wanted.get(user_id)) else { continue };
            if let Some(keys) = user.keys()?.filter(|_| answer.failures.contains_key(user_id.server_name())) {
                answer.add_kept(user_id, devices, keys);
            }
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

    /// Those of these users whom this server knows.
    async fn known(
        &self,
        users: impl Iterator<Item = &OwnedUserId>,
    ) -> Result<HashMap<OwnedUserId, KnownUser>, StorageError> {
        let mut found = Vec::new();
        for user_id in users {
            if let Some(user_sn) = self.interned.find_user(user_id.as_str()).await? {
                found.push((user_id.clone(), user_sn));
            }
        }
        let numbers: Vec<i64> = found.iter().map(|(_, user_sn)| user_sn.0).collect();
        let lists = self.database.remote_device_lists(&numbers).await?;
        let mut lists: HashMap<UserSn, RemoteDeviceList> = lists.into_iter().map(|list| (list.user_sn, list)).collect();
        let is_open = |user_sn: &i64| lists.get(&UserSn(*user_sn)).is_none_or(|list| !list.is_current);
        let numbers: Vec<i64> = numbers.into_iter().filter(is_open).collect();
        let shared: HashSet<UserSn> = self.database.users_sharing_rooms(&numbers).await?.into_iter().collect();
        let known = found.into_iter().map(|(user_id, user_sn)| {
            let list = lists.remove(&user_sn);
            (user_id, KnownUser { user_sn, is_shared: shared.contains(&user_sn), list })
        });
        Ok(known.collect())
    }

    /// What is kept of the keys that a server has told of a user.
    async fn to_be_kept(
        &self,
        user_id: &UserId,
        user: Option<&KnownUser>,
        keys: &KeptKeys,
        asked_at: Position,
    ) -> Result<Option<ToldDeviceList>, StorageError> {
        let (Some(user), Some(stored)) = (user.filter(|user| user.is_shared), keys.stored()) else { return Ok(None) };
        Ok(Some(ToldDeviceList {
            user_sn: user.user_sn,
            server_sn: self.interned.server(user_id.server_name().as_str()).await?,
            known_version: user.list.as_ref().map(|list| list.version),
            // Such an answer does not name it. The next change that is told has all keys asked for once more.
            stream_id: None,
            asked_at,
            keys: stored,
            is_empty: keys.is_empty(),
        }))
    }
}

/// What a server tells of one of the users that it was asked about; `None` if that is nothing. What is not sound is left out.
fn take_keys(queried: &mut Queried, user_id: &OwnedUserId) -> Option<KeptKeys> {
    let devices = queried.device_keys.remove(user_id);
    let master_key = queried.master_keys.remove(user_id);
    if devices.is_none() && master_key.is_none() {
        return None;
    }
    let sound = devices.into_iter().flatten().filter_map(|(device_id, keys)| {
        let keys = KeptKeys::device(&keys, user_id, &device_id, None)?;
        Some((device_id, keys))
    });
    let self_signing_key = queried.self_signing_keys.remove(user_id);
    Some(KeptKeys {
        devices: sound.collect(),
        master_key: master_key.and_then(|key| KeptKeys::cross_signing(&key, user_id)),
        self_signing_key: self_signing_key.and_then(|key| KeptKeys::cross_signing(&key, user_id)),
    })
}

impl QueryAnswer {
    /// Adds the keys of a user of another server, as far as they are wanted.
    fn add_kept(&mut self, user_id: &OwnedUserId, wanted: &[String], keys: KeptKeys) {
        let KeptKeys { mut devices, master_key, self_signing_key } = keys;
        devices.retain(|device_id, _| wanted.is_empty() || wanted.iter().any(|wanted| **wanted == **device_id));
        self.device_keys.insert(user_id.clone(), devices);
        self.master_keys.extend(master_key.map(|key| (user_id.clone(), key)));
        self.self_signing_keys.extend(self_signing_key.map(|key| (user_id.clone(), key)));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(text: &str) -> OwnedUserId {
        text.try_into().unwrap()
    }

    #[test]
    fn only_what_was_asked_for_and_is_sound_is_shown() {
        let (bob, eve) = (user("@bob:b.example"), user("@eve:c.example"));
        let keys = |user_id: &OwnedUserId, device_id: &str| json!({ "user_id": user_id, "device_id": device_id });
        let mut named = keys(&bob, "A");
        named["unsigned"] = json!({ "device_display_name": "phone", "other": 1 });
        let told = json!({
            "device_keys": {
                bob.as_str(): { "A": named, "B": keys(&bob, "other"), "C": keys(&eve, "C"), "D": 5, "E": { "x": 1.5 } },
                eve.as_str(): { "A": keys(&eve, "A") },
            },
            "master_keys": { bob.as_str(): { "user_id": bob, "keys": {} }, eve.as_str(): { "user_id": eve } },
            "self_signing_keys": { bob.as_str(): { "user_id": eve } },
        });
        let (mut answer, mut queried) = (QueryAnswer::default(), serde_json::from_value(told).unwrap());
        let told = take_keys(&mut queried, &bob).unwrap();
        let stored = told.stored().unwrap();
        answer.add_kept(&bob, &["A".to_owned()], KeptKeys::read(&stored).unwrap());
        assert!(take_keys(&mut queried, &bob).is_none());
        let shown = serde_json::to_value(&answer).unwrap();
        named["unsigned"] = json!({ "device_display_name": "phone" });
        assert_eq!(shown["device_keys"], json!({ bob.as_str(): { "A": named } }));
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
