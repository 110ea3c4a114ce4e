//! The form in which keys of users of other servers are kept, the same however they were told.

use std::collections::BTreeMap;

use bytes::Bytes;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use storage::StorageError;

/// The most devices of a user whose keys are kept.
const MAX_DEVICES: usize = 1_000;
/// The most bytes of the keys of a user that are kept.
const MAX_BYTES: usize = 1 << 20;

/// The keys of a user of another server. Each is canonical JSON, so that the same keys are the same bytes.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub(crate) struct KeptKeys {
    /// The identity keys of devices, by the device's ID.
    pub(crate) devices: BTreeMap<Box<str>, Box<RawValue>>,
    /// The key that signs the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) master_key: Option<Box<RawValue>>,
    /// The key that signs the user's devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) self_signing_key: Option<Box<RawValue>>,
}

impl KeptKeys {
    /// The keys as they are stored.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if they are not of this form.
    pub(crate) fn read(stored: &Bytes) -> Result<Self, StorageError> {
        serde_json::from_slice(stored).map_err(|error| StorageError::Corrupt(format!("keys of a remote user: {error}")))
    }

    /// The keys as they are to be stored; `None` if they are too many.
    pub(crate) fn stored(&self) -> Option<Bytes> {
        if self.devices.len() > MAX_DEVICES {
            return None;
        }
        let json = serde_json::to_vec(self).ok()?;
        (json.len() <= MAX_BYTES).then(|| Bytes::from(json))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.master_key.is_none() && self.self_signing_key.is_none()
    }

    /// The identity keys of a device as they are kept; `None` if clients could not read them, or they are of another device. `name` is what
    /// the user calls the device, if that is told beside the keys.
    pub(crate) fn device(
        keys: &RawValue,
        user_id: &UserId,
        device_id: &str,
        name: Option<&str>,
    ) -> Option<Box<RawValue>> {
        let mut keys = object_of(keys, &[("user_id", user_id.as_str()), ("device_id", device_id)])?;
        let told = match keys.remove("unsigned") {
            Some(CanonicalJsonValue::Object(mut unsigned)) => unsigned.remove("device_display_name"),
            _ => None,
        };
        let told = told.and_then(|told| told.as_str().map(str::to_owned));
        if let Some(name) = told.or_else(|| name.map(str::to_owned)) {
            let name = ("device_display_name".to_owned(), CanonicalJsonValue::String(name));
            let unsigned = CanonicalJsonObject::from_iter([name]);
            keys.insert("unsigned".to_owned(), CanonicalJsonValue::Object(unsigned));
        }
        to_raw_value(&keys).ok()
    }

    /// A key by which a user signs, as it is kept; `None` if clients could not read it, or it is of another user.
    pub(crate) fn cross_signing(key: &RawValue, user_id: &UserId) -> Option<Box<RawValue>> {
        let mut key = object_of(key, &[("user_id", user_id.as_str())])?;
        key.remove("unsigned");
        to_raw_value(&key).ok()
    }
}

/// A JSON object that clients can read and that has these values.
fn object_of(keys: &RawValue, expected: &[(&str, &str)]) -> Option<CanonicalJsonObject> {
    let keys: CanonicalJsonObject = serde_json::from_str(keys.get()).ok()?;
    let has = |key: &str, value: &str| keys.get(key).is_some_and(|found| found.as_str() == Some(value));
    expected.iter().all(|(key, value)| has(key, value)).then_some(keys)
}
