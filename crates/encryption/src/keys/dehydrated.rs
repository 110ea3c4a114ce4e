//! Devices that are kept for clients to come, so that messages can be encrypted for a user who is logged in nowhere.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/3814>

use std::collections::BTreeMap;

use accounts::sessions::{MAX_DEVICE_ID_BYTES, Requester};
use bytes::Bytes;
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::{DehydratedDevice, NewDehydratedDevice, StorageError};

use super::upload::{MAX_ONE_TIME_KEYS, checked_device_keys, checked_fallback_keys, checked_keys};
use super::{Keys, UploadError};

/// The most bytes of what clients need to use the device: its private keys, those of its one-time keys among them.
const MAX_DATA_BYTES: usize = 256 << 10;
/// The longest name of a device, in characters; what is beyond is cut off.
const MAX_NAME_CHARS: usize = 100;

/// The body of `PUT /dehydrated_device`.
#[derive(Deserialize, Debug)]
pub struct DehydratedDeviceUpload {
    device_id: String,
    device_data: Box<RawValue>,
    #[serde(default)]
    initial_device_display_name: Option<String>,
    device_keys: CanonicalJsonObject,
    #[serde(default)]
    one_time_keys: Option<BTreeMap<String, CanonicalJsonValue>>,
    #[serde(default)]
    fallback_keys: Option<BTreeMap<String, CanonicalJsonValue>>,
}

/// The form of what clients need to use the device.
#[derive(Deserialize)]
struct DeviceDataForm {
    #[expect(dead_code, reason = "only its type matters")]
    algorithm: String,
}

impl Keys {
    /// Keeps a device with its keys, in place of the one that was kept before. Returns its ID.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn put_dehydrated_device(
        &self,
        requester: &Requester,
        upload: DehydratedDeviceUpload,
    ) -> Result<String, UploadError> {
        let DehydratedDeviceUpload { device_id, device_data, device_keys, one_time_keys, fallback_keys, .. } = upload;
        if device_id.is_empty() || device_id.len() > MAX_DEVICE_ID_BYTES {
            let sentence = format!("device_id: it has between 1 and {MAX_DEVICE_ID_BYTES} bytes");
            return Err(UploadError::Malformed(sentence));
        }
        let one_time_keys = checked_keys("one_time_keys", one_time_keys.unwrap_or_default())?;
        if i64::try_from(one_time_keys.len()).is_ok_and(|count| count > MAX_ONE_TIME_KEYS) {
            return Err(UploadError::TooMany);
        }
        let name = upload.initial_device_display_name;
        let new = NewDehydratedDevice {
            user_sn: requester.user_sn,
            display_name: name.map(|name| name.chars().take(MAX_NAME_CHARS).collect()),
            device_data: checked_data(&device_data)?,
            device_keys: checked_device_keys(device_keys, requester.user_id.as_str(), &device_id)?,
            one_time_keys,
            fallback_keys: checked_fallback_keys(fallback_keys.unwrap_or_default())?,
            now: self.clock.now(),
            device_id: device_id.clone(),
        };
        let is_kept = self.database.put_dehydrated_device(new).await?;
        if is_kept { Ok(device_id) } else { Err(UploadError::OtherDevice) }
    }

    /// The device that is kept for the requester.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    pub async fn dehydrated_device(&self, requester: &Requester) -> Result<Option<DehydratedDevice>, StorageError> {
        self.database.dehydrated_device(requester.user_sn).await
    }
}

fn checked_data(data: &RawValue) -> Result<Bytes, UploadError> {
    // Clients read it with everything else of an answer.
    let parsed: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(data.get());
    let form = parsed.and_then(|parsed| DeviceDataForm::deserialize(serde_json::Value::Object(parsed)));
    form.map_err(|error| UploadError::Malformed(format!("device_data: {error}")))?;
    if data.get().len() > MAX_DATA_BYTES {
        return Err(UploadError::Malformed(format!("device_data: it has at most {MAX_DATA_BYTES} bytes")));
    }
    Ok(Bytes::from(data.get().to_owned()))
}
