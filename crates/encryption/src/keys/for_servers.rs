//! Showing the keys of this server's users to other servers. What a user calls a device is not shown to them.

use std::collections::BTreeMap;

use homeserver_core::Position;
use ruma::{OwnedUserId, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use storage::{CrossSigningUsage, StorageError};

use super::claim::NamedKeys;
use super::user_keys::{parsed, raw};
use super::{Keys, WantedDevices, WantedKeys};

/// The answer to `POST /user/keys/query`.
#[derive(Default, Serialize, Debug)]
pub struct KeysForServer {
    /// Identity keys by user and device.
    device_keys: BTreeMap<OwnedUserId, BTreeMap<Box<str>, Box<RawValue>>>,
    master_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    self_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
}

/// The answer to `POST /user/keys/claim`.
#[derive(Default, Serialize, Debug)]
pub struct ClaimedForServer {
    /// Keys by user and device.
    one_time_keys: BTreeMap<Box<str>, BTreeMap<Box<str>, NamedKeys>>,
}

/// The answer to `GET /user/devices/{userId}`.
#[derive(Serialize, Debug)]
pub struct UserDevices {
    user_id: OwnedUserId,
    /// Where in the log the list changed last.
    stream_id: i64,
    devices: Vec<UserDevice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_key: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_signing_key: Option<Box<RawValue>>,
}

#[derive(Serialize, Debug)]
struct UserDevice {
    device_id: Box<str>,
    keys: Box<RawValue>,
}

impl Keys {
    /// The keys of users of this server, as another server may see them.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn query_for_server(&self, wanted: WantedDevices) -> Result<KeysForServer, StorageError> {
        self.catch_up().await?;
        let (mut users, mut numbers) = (Vec::new(), Vec::new());
        for (user_id, devices) in wanted {
            if user_id.server_name() != self.server_name {
                continue;
            }
            if let Some(user_sn) = self.interned.find_user(user_id.as_str()).await? {
                numbers.push(user_sn);
                users.push((user_id, devices));
            }
        }
        let mut answer = KeysForServer::default();
        let known = self.of_users(&numbers).await?;
        for ((user_id, devices), known) in users.into_iter().zip(&known) {
            let Some(keys) = known.get() else { continue };
            let mut shown = BTreeMap::new();
            for (device_id, keys) in &keys.devices {
                if devices.is_empty() || devices.iter().any(|wanted| **wanted == **device_id) {
                    shown.insert(device_id.clone(), without_unsigned(keys)?);
                }
            }
            for (usage, key) in &keys.cross_signing {
                let shown = match usage {
                    CrossSigningUsage::Master => &mut answer.master_keys,
                    CrossSigningUsage::SelfSigning => &mut answer.self_signing_keys,
                    CrossSigningUsage::UserSigning => continue,
                };
                shown.insert(user_id.clone(), key.clone());
            }
            answer.device_keys.insert(user_id, shown);
        }
        Ok(answer)
    }

    /// Gives out one key of each device that is asked for, as [`Keys::claim`] does.
    ///
    /// # Errors
    /// [`StorageError`] if no keys can be taken.
    pub async fn claim_for_server(&self, wanted: WantedKeys) -> Result<ClaimedForServer, StorageError> {
        Ok(ClaimedForServer { one_time_keys: self.claim(wanted).await?.one_time_keys })
    }

    /// The devices of a user of this server; `None` if there is no such user.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn devices_for_server(&self, user_id: &UserId) -> Result<Option<UserDevices>, StorageError> {
        if user_id.server_name() != self.server_name {
            return Ok(None);
        }
        let Some(user_sn) = self.interned.find_user(user_id.as_str()).await? else { return Ok(None) };
        self.catch_up().await?;
        // Read first: a change between the two is told later, with a larger number.
        let changed_at = self.database.device_list_changed_at(user_sn).await?.unwrap_or(Position::START);
        let known = self.of_users(&[user_sn]).await?;
        let keys = known.first().and_then(|known| known.get());
        let mut devices = Vec::new();
        for (device_id, keys) in keys.iter().flat_map(|keys| &keys.devices) {
            devices.push(UserDevice { device_id: device_id.clone(), keys: without_unsigned(keys)? });
        }
        let key = |usage| keys.and_then(|keys| keys.cross_signing.get(&usage)).cloned();
        Ok(Some(UserDevices {
            user_id: user_id.to_owned(),
            stream_id: changed_at.0,
            devices,
            master_key: key(CrossSigningUsage::Master),
            self_signing_key: key(CrossSigningUsage::SelfSigning),
        }))
    }
}

fn without_unsigned(keys: &RawValue) -> Result<Box<RawValue>, StorageError> {
    let mut keys = parsed(keys.get().as_bytes())?;
    keys.remove("unsigned");
    raw(&keys)
}
