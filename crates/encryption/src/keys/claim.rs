//! Giving out one-time keys.

use std::collections::BTreeMap;

use ruma::OwnedUserId;
use serde::Serialize;
use serde_json::value::RawValue;
use storage::{ClaimedKey, StorageError, WantedKey};

use super::Keys;
use super::remote::Failures;

/// Algorithms by user and device.
pub type WantedKeys = BTreeMap<OwnedUserId, BTreeMap<String, String>>;

/// Keys by `algorithm:key_id`.
pub(super) type NamedKeys = BTreeMap<String, Box<RawValue>>;

/// The answer of `/keys/claim`.
#[derive(Default, Serialize, Debug)]
pub struct ClaimAnswer {
    /// Keys by user and device.
    pub(super) one_time_keys: BTreeMap<Box<str>, BTreeMap<Box<str>, NamedKeys>>,
    pub(super) failures: Failures,
}

impl Keys {
    /// Gives out one key of each device that is asked for, if it has one. Nobody gets the same one-time key again.
    ///
    /// # Errors
    /// [`StorageError`] if no keys can be taken.
    pub async fn claim(&self, wanted: WantedKeys) -> Result<ClaimAnswer, StorageError> {
        let (mut users, mut keys) = (BTreeMap::new(), Vec::new());
        for (user_id, devices) in wanted {
            if user_id.server_name() != self.server_name {
                continue;
            }
            let Some(user_sn) = self.interned.find_user(user_id.as_str()).await? else { continue };
            users.insert(user_sn, user_id);
            // PostgreSQL cannot look for such a device.
            let devices = devices.into_iter().filter(|(device_id, _)| !device_id.contains('\0'));
            let of_device = |(device_id, algorithm): (String, String)| WantedKey {
                user_sn,
                device_id: device_id.into(),
                algorithm: algorithm.into(),
            };
            keys.extend(devices.map(of_device));
        }
        let mut answer = ClaimAnswer::default();
        if keys.is_empty() {
            return Ok(answer);
        }
        for claimed in self.database.claim_keys(keys).await? {
            let ClaimedKey { user_sn, device_id, algorithm, key_id, key } = claimed;
            let Some(user_id) = users.get(&user_sn) else { continue };
            let unreadable = |error: serde_json::Error| StorageError::Corrupt(format!("a one-time key: {error}"));
            let key = serde_json::from_slice(&key).map_err(unreadable)?;
            let of_user = answer.one_time_keys.entry(user_id.as_str().into()).or_default();
            of_user.entry(device_id).or_default().insert(format!("{algorithm}:{key_id}"), key);
        }
        Ok(answer)
    }
}
