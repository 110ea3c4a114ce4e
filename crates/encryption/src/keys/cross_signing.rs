//! The keys by which users sign their devices and each other.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>

use std::collections::BTreeMap;

use accounts::object::Object;
use accounts::sessions::Requester;
use bytes::Bytes;
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde::{Deserialize, Serialize};
use storage::{CrossSigningKey, CrossSigningUsage, StorageError};

use super::Keys;
use super::signed::{is_signed, signature};

/// The most bytes of one key.
const MAX_KEY_BYTES: usize = 16 << 10;

/// Keys that a user uploads.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, Debug)]
pub struct CrossSigningUpload {
    /// The key that signs the two others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_key: Option<CanonicalJsonObject>,
    /// The key that signs the user's devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_signing_key: Option<CanonicalJsonObject>,
    /// The key that signs the master keys of other users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_signing_key: Option<CanonicalJsonObject>,
}

/// Why keys were refused. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum CrossSigningError {
    /// A key has not the form that it must have.
    #[error("{0}")]
    Malformed(String),
    /// A key says that it is somebody else's.
    #[error("{0}: this is not a key of the user who uploads it")]
    OtherUser(&'static str),
    /// There is no master key, and none is uploaded.
    #[error("master_key: the other keys are signed by a master key, and there is none")]
    NoMasterKey,
    /// A key is not signed by the master key.
    #[error("{0}: the key is not signed by the master key")]
    NotSigned(&'static str),
    /// A device has the public key as its ID.
    #[error("{0}: a device of yours has this key as its ID")]
    IsDevice(&'static str),
    /// The user has other keys already, which only an authenticated user may replace.
    #[error("You have cross-signing keys already")]
    Exists,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The form of a key.
#[derive(Deserialize)]
struct KeyForm {
    user_id: String,
    usage: Vec<String>,
    keys: BTreeMap<String, String>,
    #[serde(default)]
    #[expect(dead_code, reason = "only its type matters")]
    signatures: Option<BTreeMap<String, BTreeMap<String, String>>>,
}

const FIELDS: [(&str, &str, CrossSigningUsage); 3] = [
    ("master_key", "master", CrossSigningUsage::Master),
    ("self_signing_key", "self_signing", CrossSigningUsage::SelfSigning),
    ("user_signing_key", "user_signing", CrossSigningUsage::UserSigning),
];

impl Keys {
    /// Whether a user has to authenticate to upload these keys: there are others.
    ///
    /// # Errors
    /// [`CrossSigningError`] if the keys are refused in any case.
    pub async fn replaces_cross_signing(
        &self,
        requester: &Requester,
        upload: &CrossSigningUpload,
    ) -> Result<bool, CrossSigningError> {
        let stored = self.own_cross_signing_keys(requester).await?;
        let new = self.checked_cross_signing(requester, upload, &stored).await?;
        Ok(!stored.is_empty() && new.iter().any(|key| !stored.contains(key)))
    }

    /// Stores a user's cross-signing keys. They replace stored ones only if the user `has_authenticated`.
    ///
    /// # Errors
    /// [`CrossSigningError`].
    pub async fn upload_cross_signing(
        &self,
        requester: &Requester,
        upload: &CrossSigningUpload,
        has_authenticated: bool,
    ) -> Result<(), CrossSigningError> {
        let stored = self.own_cross_signing_keys(requester).await?;
        let new = self.checked_cross_signing(requester, upload, &stored).await?;
        let is_stored = self.database.set_cross_signing_keys(requester.user_sn, new, !has_authenticated).await?;
        if is_stored { Ok(()) } else { Err(CrossSigningError::Exists) }
    }

    async fn own_cross_signing_keys(&self, requester: &Requester) -> Result<Vec<CrossSigningKey>, StorageError> {
        let stored = self.database.cross_signing_keys(&[requester.user_sn.0]).await?;
        Ok(stored.into_iter().map(|(_, key)| key).collect())
    }

    async fn checked_cross_signing(
        &self,
        requester: &Requester,
        upload: &CrossSigningUpload,
        stored: &[CrossSigningKey],
    ) -> Result<Vec<CrossSigningKey>, CrossSigningError> {
        let user_id = requester.user_id.as_str();
        let keys = [&upload.master_key, &upload.self_signing_key, &upload.user_signing_key];
        let mut checked: Vec<CrossSigningKey> = Vec::new();
        for (key, (field, word, usage)) in keys.into_iter().zip(FIELDS) {
            let Some(key) = key else { continue };
            let public_key = public_key_of(key, field, word, user_id)?;
            if self.database.device(requester.user_sn, &public_key).await?.is_some() {
                return Err(CrossSigningError::IsDevice(field));
            }
            if usage != CrossSigningUsage::Master {
                let master = checked.iter().chain(stored).find(|key| key.usage == CrossSigningUsage::Master);
                let master = master.ok_or(CrossSigningError::NoMasterKey)?;
                let by_master = signature(key, user_id, &format!("ed25519:{}", master.public_key));
                if !by_master.is_some_and(|signature| is_signed(key, &master.public_key, signature)) {
                    return Err(CrossSigningError::NotSigned(field));
                }
            }
            let malformed = |error: serde_json::Error| CrossSigningError::Malformed(format!("{field}: {error}"));
            let json = serde_json::to_vec(key).map_err(malformed)?;
            if json.len() > MAX_KEY_BYTES {
                let sentence = format!("{field}: a key has at most {MAX_KEY_BYTES} bytes");
                return Err(CrossSigningError::Malformed(sentence));
            }
            checked.push(CrossSigningKey { usage, public_key: public_key.into(), key: Bytes::from(json) });
        }
        Ok(checked)
    }
}

/// The public part of a key of this user, which must have the form of one.
fn public_key_of(
    key: &CanonicalJsonObject,
    field: &'static str,
    usage: &str,
    user_id: &str,
) -> Result<String, CrossSigningError> {
    let malformed = |reason: &dyn std::fmt::Display| CrossSigningError::Malformed(format!("{field}: {reason}"));
    let value = serde_json::to_value(CanonicalJsonValue::Object(key.clone())).map_err(|error| malformed(&error))?;
    let form = Object::<KeyForm>::deserialize(value).map_err(|error| malformed(&error))?.0;
    if form.user_id != user_id {
        return Err(CrossSigningError::OtherUser(field));
    }
    if !form.usage.iter().any(|word| word == usage) {
        return Err(malformed(&format_args!("`usage` must contain `{usage}`")));
    }
    let mut keys = form.keys.into_iter();
    let (Some((key_id, public_key)), None) = (keys.next(), keys.next()) else {
        return Err(malformed(&"`keys` must have one key"));
    };
    if key_id.strip_prefix("ed25519:") != Some(public_key.as_str()) || public_key.is_empty() {
        return Err(malformed(&"the name of the key must be `ed25519:` and the key"));
    }
    Ok(public_key)
}
