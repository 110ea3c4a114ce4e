//! Signatures that are added to keys.
//!
//! A user signs devices with the self-signing key, the own master key with devices, and the master keys of other users with the
//! user-signing key. Nothing else is stored.

use std::collections::{BTreeMap, HashMap};

use accounts::sessions::Requester;
use bytes::Bytes;
use homeserver_core::UserSn;
use ruma::{CanonicalJsonObject, OwnedUserId};
use serde::Serialize;
use storage::{CrossSigningKey, CrossSigningUsage, NewKeySignature, StorageError};

use super::signed::{is_same_unsigned, is_signed, signature};
use super::{KeptKeys, Keys};

/// Signed keys by user, and by the ID of a device or the public part of a key.
pub type NewSignatures = BTreeMap<OwnedUserId, BTreeMap<String, CanonicalJsonObject>>;

/// Why a signature was not stored.
#[derive(Clone, Serialize, Debug)]
pub struct SignatureFailure {
    errcode: &'static str,
    error: &'static str,
}

/// The answer of `/keys/signatures/upload`.
#[derive(Default, Serialize, Debug)]
pub struct SignaturesAnswer {
    failures: BTreeMap<OwnedUserId, BTreeMap<String, SignatureFailure>>,
}

const UNKNOWN_KEY: SignatureFailure =
    SignatureFailure { errcode: "M_NOT_FOUND", error: "There is no such device or key" };
const NO_SIGNING_KEY: SignatureFailure =
    SignatureFailure { errcode: "M_NOT_FOUND", error: "You have no key that can sign this" };
const OTHER_KEY: SignatureFailure =
    SignatureFailure { errcode: "M_INVALID_PARAM", error: "The key is not the one that is stored" };
const WRONG_SIGNATURE: SignatureFailure =
    SignatureFailure { errcode: "M_INVALID_SIGNATURE", error: "The signature is missing or wrong" };

/// The keys of a user by which signatures are checked.
#[derive(Default)]
struct Signers {
    cross_signing: BTreeMap<CrossSigningUsage, CrossSigningKey>,
    devices: HashMap<String, CanonicalJsonObject>,
}

impl Keys {
    /// Stores the signatures that are right, and tells of each other one why it is not.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be stored.
    pub async fn upload_signatures(
        &self,
        requester: &Requester,
        signatures: NewSignatures,
    ) -> Result<SignaturesAnswer, StorageError> {
        let own = self.signers(requester.user_sn).await?;
        let (mut answer, mut right) = (SignaturesAnswer::default(), Vec::new());
        for (user_id, keys) in signatures {
            let user_sn = self.interned.find_user(user_id.as_str()).await?;
            let others = match user_sn {
                Some(user_sn) if user_id.server_name() != self.server_name => self.remote_signers(user_sn).await?,
                Some(user_sn) if user_sn != requester.user_sn => self.signers(user_sn).await?,
                _ => Signers::default(),
            };
            for (target, key) in keys {
                let checked = match user_sn {
                    None => Err(UNKNOWN_KEY),
                    Some(user_sn) if user_sn == requester.user_sn => own.check_own(requester, &target, &key),
                    Some(_) => own.check_other(requester, &others, &target, &key),
                };
                match (checked, user_sn) {
                    (Ok((key_id, signature)), Some(target_sn)) => {
                        let target = target.into();
                        right.push(NewKeySignature { target_sn, target, key_id: key_id.into(), signature });
                    }
                    (Err(failure), _) => {
                        answer.failures.entry(user_id.clone()).or_default().insert(target, failure);
                    }
                    (Ok(_), None) => {}
                }
            }
        }
        if !right.is_empty() {
            self.database.add_key_signatures(requester.user_sn, right).await?;
        }
        Ok(answer)
    }

    async fn signers(&self, user_sn: UserSn) -> Result<Signers, StorageError> {
        let cross_signing = self.database.cross_signing_keys(&[user_sn.0]).await?;
        let cross_signing = cross_signing.into_iter().map(|(_, key)| (key.usage, key)).collect();
        let mut devices = HashMap::new();
        for device in self.database.device_keys(&[user_sn.0]).await? {
            devices.insert(device.device_id.to_string(), parsed(&device.keys)?);
        }
        Ok(Signers { cross_signing, devices })
    }

    /// The master key of a user of another server, as far as it is kept.
    async fn remote_signers(&self, user_sn: UserSn) -> Result<Signers, StorageError> {
        let list = self.database.remote_device_lists(&[user_sn.0]).await?.pop();
        let kept = list.and_then(|list| list.keys).as_ref().map(KeptKeys::read).transpose()?;
        let Some(key) = kept.and_then(|kept| kept.master_key) else { return Ok(Signers::default()) };
        let keys = parsed(key.get().as_bytes())?;
        let keys = keys.get("keys").and_then(|keys| keys.as_object());
        let public_key = keys.and_then(|keys| keys.values().next()?.as_str()).unwrap_or_default().into();
        let (usage, key) = (CrossSigningUsage::Master, Bytes::from(key.get().to_owned()));
        let cross_signing = BTreeMap::from_iter([(usage, CrossSigningKey { usage, public_key, key })]);
        Ok(Signers { cross_signing, devices: HashMap::new() })
    }
}

/// The key that signed, and its signature.
type Checked = Result<(String, Box<str>), SignatureFailure>;

impl Signers {
    /// Checks the signature of a device, or of the master key, of the user whose keys these are.
    fn check_own(&self, requester: &Requester, target: &str, key: &CanonicalJsonObject) -> Checked {
        let user_id = requester.user_id.as_str();
        if let Some(stored) = self.devices.get(target) {
            let signer = self.cross_signing.get(&CrossSigningUsage::SelfSigning).ok_or(NO_SIGNING_KEY)?;
            return check(stored, key, user_id, &format!("ed25519:{}", signer.public_key), &signer.public_key);
        }
        let stored = self.master_key(target)?;
        for (device_id, device) in &self.devices {
            let key_id = format!("ed25519:{device_id}");
            if signature(key, user_id, &key_id).is_some() {
                return check(&stored, key, user_id, &key_id, &public_key(device, &key_id));
            }
        }
        Err(WRONG_SIGNATURE)
    }

    /// Checks the signature of another user's master key.
    fn check_other(&self, requester: &Requester, others: &Self, target: &str, key: &CanonicalJsonObject) -> Checked {
        let stored = others.master_key(target)?;
        let signer = self.cross_signing.get(&CrossSigningUsage::UserSigning).ok_or(NO_SIGNING_KEY)?;
        let key_id = format!("ed25519:{}", signer.public_key);
        check(&stored, key, requester.user_id.as_str(), &key_id, &signer.public_key)
    }

    /// The master key, if this is its public part.
    fn master_key(&self, target: &str) -> Result<CanonicalJsonObject, SignatureFailure> {
        let master = self.cross_signing.get(&CrossSigningUsage::Master).filter(|key| *key.public_key == *target);
        master.and_then(|key| serde_json::from_slice(&key.key).ok()).ok_or(UNKNOWN_KEY)
    }
}

/// Checks that `key` is the stored one, and signed.
fn check(
    stored: &CanonicalJsonObject,
    key: &CanonicalJsonObject,
    user_id: &str,
    key_id: &str,
    public_key: &str,
) -> Checked {
    if !is_same_unsigned(stored, key) {
        return Err(OTHER_KEY);
    }
    let signature = signature(key, user_id, key_id).filter(|signature| is_signed(stored, public_key, signature));
    signature.map(|signature| (key_id.to_owned(), signature.into())).ok_or(WRONG_SIGNATURE)
}

fn public_key(device: &CanonicalJsonObject, key_id: &str) -> String {
    let keys = device.get("keys").and_then(|keys| keys.as_object());
    keys.and_then(|keys| keys.get(key_id)?.as_str()).unwrap_or_default().to_owned()
}

fn parsed(keys: &[u8]) -> Result<CanonicalJsonObject, StorageError> {
    serde_json::from_slice(keys).map_err(|error| StorageError::Corrupt(format!("keys of a device: {error}")))
}
