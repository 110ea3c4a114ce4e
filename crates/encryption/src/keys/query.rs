//! Showing users' keys to others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use accounts::sessions::Requester;
use homeserver_core::UserSn;
use ruma::OwnedUserId;
use serde::Serialize;
use serde_json::value::RawValue;
use storage::{CrossSigningUsage, Engine, KeySignature, StorageError};

use super::Keys;
use super::remote::Failures;
use super::signed::add_signature;
use super::user_keys::{KnownUserKeys, UserKeys, parsed, raw};

/// How long it is waited for what other nodes have written.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Devices by user; none at all stands for all of a user's devices.
pub type WantedDevices = BTreeMap<OwnedUserId, Vec<String>>;

/// The answer of `/keys/query`.
#[derive(Default, Serialize, Debug)]
pub struct QueryAnswer {
    /// Identity keys by user and device.
    pub(super) device_keys: BTreeMap<OwnedUserId, BTreeMap<Box<str>, Box<RawValue>>>,
    pub(super) master_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    pub(super) self_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    /// Only one's own.
    user_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    pub(super) failures: Failures,
}

impl Keys {
    /// The keys of users of this server, as the requester may see them, but for the signatures that [`Keys::add_signatures_of`] adds.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn query(&self, requester: &Requester, wanted: WantedDevices) -> Result<QueryAnswer, StorageError> {
        self.catch_up().await?;
        let mut answer = QueryAnswer::default();
        let (mut users, mut numbers) = (Vec::new(), Vec::new());
        for (user_id, devices) in wanted {
            if user_id.server_name() != self.server_name {
                continue;
            }
            match self.interned.find_user(user_id.as_str()).await? {
                Some(user_sn) => {
                    numbers.push(user_sn);
                    users.push((user_id, devices));
                }
                None => {
                    answer.device_keys.insert(user_id, BTreeMap::new());
                }
            }
        }
        let known = self.of_users(&numbers).await?;
        for ((user_id, devices), known) in users.iter().zip(&known) {
            let Some(keys) = known.get() else { continue };
            answer.add(user_id, devices, keys, *user_id == requester.user_id);
        }
        Ok(answer)
    }

    /// Another node may have told the requester of a change that this one has not followed yet. What is in memory would be out of date,
    /// and the requester would not be told again.
    pub(super) async fn catch_up(&self) -> Result<(), StorageError> {
        if self.database.engine() == Engine::Postgres {
            let end = self.database.position().await?;
            self.database.catch_up(end, CATCH_UP).await?;
        }
        Ok(())
    }

    /// Adds the signatures that the requester has added to others' master keys, which nobody else sees.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn add_signatures_of(&self, requester: &Requester, answer: &mut QueryAnswer) -> Result<(), StorageError> {
        let own: Vec<Arc<KnownUserKeys>> = self.of_users(&[requester.user_sn]).await?;
        let can_sign = |keys: &UserKeys| keys.cross_signing.contains_key(&CrossSigningUsage::UserSigning);
        if !own.iter().filter_map(|known| known.get()).any(can_sign) {
            return Ok(());
        }
        let mut users: HashMap<UserSn, OwnedUserId> = HashMap::new();
        for user_id in answer.master_keys.keys() {
            if let Some(user_sn) = self.interned.find_user(user_id.as_str()).await? {
                users.insert(user_sn, user_id.clone());
            }
        }
        let targets: Vec<i64> = users.keys().map(|user_sn| user_sn.0).collect();
        for added in self.database.key_signatures_by(requester.user_sn, &targets).await? {
            let KeySignature { target_sn, target, key_id, signature } = added;
            let shown = users.get(&target_sn).and_then(|user_id| answer.master_keys.get_mut(user_id));
            let Some(shown) = shown else { continue };
            let mut master = parsed(shown.get().as_bytes())?;
            // A signature of a key that was replaced since is worth nothing.
            let keys = master.get("keys").and_then(|keys| keys.as_object());
            if keys.is_some_and(|keys| keys.contains_key(&format!("ed25519:{target}"))) {
                add_signature(&mut master, requester.user_id.as_str(), &key_id, &signature);
                *shown = raw(&master)?;
            }
        }
        Ok(())
    }
}

impl QueryAnswer {
    /// Adds the keys of one user.
    fn add(&mut self, user_id: &OwnedUserId, devices: &[String], keys: &UserKeys, is_own: bool) {
        let is_wanted = |device_id: &str| devices.is_empty() || devices.iter().any(|wanted| wanted == device_id);
        let shown = keys.devices.iter().filter(|(device_id, _)| is_wanted(device_id));
        let shown = shown.map(|(device_id, keys)| (device_id.clone(), keys.clone())).collect();
        self.device_keys.insert(user_id.clone(), shown);
        for (usage, key) in &keys.cross_signing {
            let shown = match usage {
                CrossSigningUsage::Master => &mut self.master_keys,
                CrossSigningUsage::SelfSigning => &mut self.self_signing_keys,
                CrossSigningUsage::UserSigning if is_own => &mut self.user_signing_keys,
                CrossSigningUsage::UserSigning => continue,
            };
            shown.insert(user_id.clone(), key.clone());
        }
    }
}
