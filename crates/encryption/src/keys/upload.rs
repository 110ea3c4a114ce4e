//! What a device uploads.

use std::collections::BTreeMap;

use accounts::object::Object;
use accounts::sessions::Requester;
use bytes::Bytes;
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde::Deserialize;
use storage::{KeyCounts, KeysUpload, NewKey, StorageError, UploadConflict};

use super::Keys;
use super::signed::{is_signed, signature};

/// The most one-time keys that a device has.
pub(super) const MAX_ONE_TIME_KEYS: i64 = 1_000;
/// The most bytes of one key, and of the identity keys of a device.
const MAX_KEY_BYTES: usize = 16 << 10;
/// The most bytes of the name of a key.
const MAX_NAME_BYTES: usize = 255;
/// The algorithms of one-time keys and fallback keys.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#key-algorithms>
const ALGORITHMS: [&str; 2] = ["curve25519", "signed_curve25519"];

/// The body of `/keys/upload`.
#[derive(Deserialize, Debug)]
pub struct KeysUploadRequest {
    /// The identity keys of the device.
    #[serde(default)]
    device_keys: Option<CanonicalJsonObject>,
    /// Keys that are given out once each, by `algorithm:key_id`.
    #[serde(default)]
    one_time_keys: Option<BTreeMap<String, CanonicalJsonValue>>,
    /// Keys that are given out when there are no others.
    #[serde(default)]
    fallback_keys: Option<BTreeMap<String, CanonicalJsonValue>>,
}

/// Why an upload was refused. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The session has no device, or none any more.
    #[error("Only a device can upload keys: log in with one")]
    NoDevice,
    /// The device says that it is another one, or that it is somebody else's.
    #[error("device_keys: these are not the keys of the device that uploads them")]
    OtherDevice,
    /// Something has not the form that it must have.
    #[error("{0}")]
    Malformed(String),
    /// The device's own signature is wrong.
    #[error("device_keys.signatures: the signature by the key {0} is wrong")]
    WrongSignature(String),
    /// An algorithm that is not known.
    #[error("{0}: one-time keys have the algorithm curve25519 or signed_curve25519")]
    UnknownAlgorithm(String),
    /// There are two fallback keys of one algorithm.
    #[error("fallback_keys: there is at most one key of each algorithm")]
    TwoFallbackKeys,
    /// Another key is stored under this ID.
    #[error("One-time key {0} already exists, and is another one")]
    OtherKey(String),
    /// The device has too many keys.
    #[error("A device has at most {MAX_ONE_TIME_KEYS} one-time keys")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The form of the identity keys of a device.
#[derive(Deserialize)]
struct DeviceKeysForm {
    user_id: String,
    device_id: String,
    #[expect(dead_code, reason = "only its type matters")]
    algorithms: Vec<String>,
    keys: BTreeMap<String, String>,
    #[expect(dead_code, reason = "only its type matters")]
    signatures: Signatures,
}

/// The form of a one-time key that is an object.
#[derive(Deserialize)]
struct SignedKeyForm {
    #[expect(dead_code, reason = "only its type matters")]
    key: String,
    #[expect(dead_code, reason = "only its type matters")]
    signatures: Signatures,
}

/// Signatures by user and key.
type Signatures = BTreeMap<String, BTreeMap<String, String>>;

impl Keys {
    /// Stores what a device uploads, all of it or nothing. Returns which keys are left.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn upload(&self, requester: &Requester, request: KeysUploadRequest) -> Result<KeyCounts, UploadError> {
        let (Some(device_sn), Some(device_id)) = (requester.device_sn, &requester.device_id) else {
            return Err(UploadError::NoDevice);
        };
        let KeysUploadRequest { device_keys, one_time_keys, fallback_keys } = request;
        let check = |keys| checked_device_keys(keys, requester.user_id.as_str(), device_id.as_str());
        let device_keys = device_keys.map(check).transpose()?;
        let one_time_keys = checked_keys("one_time_keys", one_time_keys.unwrap_or_default())?;
        let fallback_keys = checked_fallback_keys(fallback_keys.unwrap_or_default())?;
        if device_keys.is_none() && one_time_keys.is_empty() && fallback_keys.is_empty() {
            return Ok((*self.counts(device_sn).await?).clone());
        }
        let (user_sn, max_one_time_keys) = (requester.user_sn, MAX_ONE_TIME_KEYS);
        let upload = KeysUpload { device_sn, user_sn, device_keys, one_time_keys, fallback_keys, max_one_time_keys };
        self.database.upload_keys(upload).await?.map_err(|conflict| match conflict {
            UploadConflict::OtherKey { algorithm, key_id } => UploadError::OtherKey(format!("{algorithm}:{key_id}")),
            UploadConflict::TooMany => UploadError::TooMany,
            UploadConflict::NoDevice => UploadError::NoDevice,
        })
    }
}

/// The identity keys of a device, if they are the keys of this one. A signature by the device's own key must be right; other devices
/// do not trust keys that have none.
pub(super) fn checked_device_keys(
    mut keys: CanonicalJsonObject,
    user_id: &str,
    device_id: &str,
) -> Result<Bytes, UploadError> {
    // It is added by servers.
    keys.remove("unsigned");
    let form: Object<DeviceKeysForm> = form("device_keys", &CanonicalJsonValue::Object(keys.clone()))?;
    if form.0.user_id != user_id || form.0.device_id != device_id {
        return Err(UploadError::OtherDevice);
    }
    let key_id = format!("ed25519:{device_id}");
    if let Some(signature) = signature(&keys, user_id, &key_id) {
        let public_key = form.0.keys.get(&key_id).map(String::as_str).unwrap_or_default();
        if !is_signed(&keys, public_key, signature) {
            return Err(UploadError::WrongSignature(key_id));
        }
    }
    written("device_keys", &CanonicalJsonValue::Object(keys))
}

/// Fallback keys, of which there is one of each algorithm at most.
pub(super) fn checked_fallback_keys(keys: BTreeMap<String, CanonicalJsonValue>) -> Result<Vec<NewKey>, UploadError> {
    let keys = checked_keys("fallback_keys", keys)?;
    // They are in the order of their names.
    if keys.windows(2).any(|pair| matches!(pair, [one, other] if one.algorithm == other.algorithm)) {
        return Err(UploadError::TwoFallbackKeys);
    }
    Ok(keys)
}

/// One-time keys or fallback keys, in the order of their names.
pub(super) fn checked_keys(
    field: &str,
    keys: BTreeMap<String, CanonicalJsonValue>,
) -> Result<Vec<NewKey>, UploadError> {
    let mut checked = Vec::with_capacity(keys.len());
    for (name, key) in keys {
        let place = format!("{field}.{name}");
        if name.len() > MAX_NAME_BYTES {
            return Err(UploadError::Malformed(format!("{place}: the name has more than {MAX_NAME_BYTES} bytes")));
        }
        let named = name.split_once(':').filter(|(_, key_id)| !key_id.is_empty());
        let (algorithm, key_id) =
            named.ok_or_else(|| UploadError::Malformed(format!("{place}: the name must be `algorithm:key_id`")))?;
        if !ALGORITHMS.contains(&algorithm) {
            return Err(UploadError::UnknownAlgorithm(place));
        }
        if key.as_str().is_none() || algorithm == "signed_curve25519" {
            form::<Object<SignedKeyForm>>(&place, &key)?;
        }
        let key = written(&place, &key)?;
        checked.push(NewKey { algorithm: algorithm.into(), key_id: key_id.into(), key });
    }
    Ok(checked)
}

fn form<T: for<'de> Deserialize<'de>>(place: &str, value: &CanonicalJsonValue) -> Result<T, UploadError> {
    let malformed = |error: serde_json::Error| UploadError::Malformed(format!("{place}: {error}"));
    let value = serde_json::to_value(value).map_err(malformed)?;
    T::deserialize(value).map_err(malformed)
}

fn written(place: &str, value: &CanonicalJsonValue) -> Result<Bytes, UploadError> {
    let json = serde_json::to_vec(value).map_err(|error| UploadError::Malformed(format!("{place}: {error}")))?;
    if json.len() > MAX_KEY_BYTES {
        return Err(UploadError::Malformed(format!("{place}: a key has at most {MAX_KEY_BYTES} bytes")));
    }
    Ok(Bytes::from(json))
}
