//! The keys of users, in memory as clients are shown them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use homeserver_core::{HeapSize, UserSn};
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde_json::value::RawValue;
use storage::{CrossSigningUsage, KeySignature, StorageError, StoredDeviceKeys};

use super::Keys;
use super::signed::add_signature;

/// The keys of one user, with the signatures that the user has added to them.
#[derive(Default, Debug)]
pub(super) struct UserKeys {
    /// The identity keys of devices, by the device's ID.
    pub(super) devices: BTreeMap<Box<str>, Box<RawValue>>,
    /// The keys by which the user signs.
    pub(super) cross_signing: BTreeMap<CrossSigningUsage, Box<RawValue>>,
}

/// The keys of one user, once they are read. It is put into the cache before they are read, so that a change that is told
/// during the reading removes it.
#[derive(Default)]
pub(super) struct KnownUserKeys(OnceLock<UserKeys>);

impl KnownUserKeys {
    /// They were read.
    pub(super) fn get(&self) -> Option<&UserKeys> {
        self.0.get()
    }
}

impl HeapSize for KnownUserKeys {
    fn heap_bytes(&self) -> usize {
        // What a node of such a map takes beside its texts, about.
        const NODE_BYTES: usize = 64;
        let Some(keys) = self.0.get() else { return 0 };
        let devices = keys.devices.iter().map(|(device_id, keys)| device_id.heap_bytes() + keys.get().len());
        let cross_signing = keys.cross_signing.values().map(|key| key.get().len());
        devices.chain(cross_signing).map(|bytes| bytes + NODE_BYTES).sum()
    }
}

impl Keys {
    /// The keys of users, each as it is in memory or else read, all with few statements.
    pub(super) async fn of_users(&self, users: &[UserSn]) -> Result<Vec<Arc<KnownUserKeys>>, StorageError> {
        let known: Vec<_> = users.iter().map(|user| self.users.get_or_insert_with(user, Arc::default)).collect();
        let missing = users.iter().zip(&known).filter(|(_, known)| known.0.get().is_none());
        let missing: Vec<(UserSn, &Arc<KnownUserKeys>)> = missing.map(|(user_sn, known)| (*user_sn, known)).collect();
        if missing.is_empty() {
            return Ok(known);
        }
        let numbers: Vec<i64> = missing.iter().map(|(user_sn, _)| user_sn.0).collect();
        let mut read = self.read_users(&numbers).await?;
        for (user_sn, known) in missing {
            let keys = read.remove(&user_sn).unwrap_or_default();
            // Somebody else may have read the same.
            let _ = known.0.set(keys);
            self.users.reweigh(&user_sn);
        }
        Ok(known)
    }

    async fn read_users(&self, users: &[i64]) -> Result<HashMap<UserSn, UserKeys>, StorageError> {
        let mut signatures: HashMap<UserSn, Vec<KeySignature>> = HashMap::new();
        for signature in self.database.own_key_signatures(users).await? {
            signatures.entry(signature.target_sn).or_default().push(signature);
        }
        let mut read: HashMap<UserSn, UserKeys> = HashMap::new();
        for device in self.database.device_keys(users).await? {
            let mut keys = parsed(&device.keys)?;
            keys.insert("unsigned".to_owned(), unsigned(&device));
            self.add_own_signatures(&mut keys, device.user_sn, &device.device_id, &signatures).await?;
            read.entry(device.user_sn).or_default().devices.insert(device.device_id, raw(&keys)?);
        }
        for (user_sn, key) in self.database.cross_signing_keys(users).await? {
            let mut shown = parsed(&key.key)?;
            self.add_own_signatures(&mut shown, user_sn, &key.public_key, &signatures).await?;
            read.entry(user_sn).or_default().cross_signing.insert(key.usage, raw(&shown)?);
        }
        Ok(read)
    }

    async fn add_own_signatures(
        &self,
        keys: &mut CanonicalJsonObject,
        user_sn: UserSn,
        target: &str,
        signatures: &HashMap<UserSn, Vec<KeySignature>>,
    ) -> Result<(), StorageError> {
        for added in signatures.get(&user_sn).into_iter().flatten().filter(|added| *added.target == *target) {
            add_signature(keys, &self.interned.user_id(user_sn).await?, &added.key_id, &added.signature);
        }
        Ok(())
    }
}

/// What the server adds to the keys of a device.
fn unsigned(device: &StoredDeviceKeys) -> CanonicalJsonValue {
    let name = device.display_name.clone().map(CanonicalJsonValue::String);
    CanonicalJsonValue::Object(name.map(|name| ("device_display_name".to_owned(), name)).into_iter().collect())
}

pub(super) fn parsed(keys: &[u8]) -> Result<CanonicalJsonObject, StorageError> {
    serde_json::from_slice(keys).map_err(corrupt)
}

pub(super) fn raw(keys: &CanonicalJsonObject) -> Result<Box<RawValue>, StorageError> {
    serde_json::value::to_raw_value(keys).map_err(corrupt)
}

fn corrupt(error: serde_json::Error) -> StorageError {
    StorageError::Corrupt(format!("keys of a user: {error}"))
}
