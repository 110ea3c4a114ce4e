//! The keys by which users sign their devices and each other, and signatures that were added to keys later.

use bytes::Bytes;
use homeserver_core::UserSn;

use crate::{Database, Row, StorageError, Tx, Value, params};

/// What a cross-signing key is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CrossSigningUsage {
    /// It signs the two others.
    Master,
    /// It signs the user's devices.
    SelfSigning,
    /// It signs the master keys of other users.
    UserSigning,
}

impl CrossSigningUsage {
    fn code(self) -> i64 {
        match self {
            Self::Master => 1,
            Self::SelfSigning => 2,
            Self::UserSigning => 3,
        }
    }

    fn from_code(code: i64) -> Result<Self, StorageError> {
        let found = [Self::Master, Self::SelfSigning, Self::UserSigning].into_iter().find(|usage| usage.code() == code);
        found.ok_or_else(|| StorageError::Corrupt(format!("{code} is no usage of a cross-signing key")))
    }
}

/// A cross-signing key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CrossSigningKey {
    /// What it is for.
    pub usage: CrossSigningUsage,
    /// Its public part, unpadded Base64.
    pub public_key: Box<str>,
    /// Canonical JSON as it was uploaded.
    pub key: Bytes,
}

/// A signature of a key, which was added later.
#[derive(Clone, Debug)]
pub struct NewKeySignature {
    /// Whose key is signed.
    pub target_sn: UserSn,
    /// The ID of a device, or the public part of a cross-signing key.
    pub target: Box<str>,
    /// The key that signs, with its algorithm.
    pub key_id: Box<str>,
    /// The signature.
    pub signature: Box<str>,
}

/// A signature of a key, as it is stored.
pub type KeySignature = NewKeySignature;

fn read_signature(row: &Row<'_>) -> Result<KeySignature, StorageError> {
    Ok(KeySignature { target_sn: row.get(0)?, target: row.get(1)?, key_id: row.get(2)?, signature: row.get(3)? })
}

impl Database {
    /// The cross-signing keys of users.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn cross_signing_keys(&self, users: &[i64]) -> Result<Vec<(UserSn, CrossSigningKey)>, StorageError> {
        let sql = "SELECT user_sn, usage, public_key, key FROM cross_signing_keys WHERE user_sn IN LIST($1)";
        self.query(sql, params![users], |row| {
            let usage = CrossSigningUsage::from_code(row.get(1)?)?;
            Ok((row.get(0)?, CrossSigningKey { usage, public_key: row.get(2)?, key: row.get(3)? }))
        })
        .await
    }

    /// The signatures that users have added to their own keys.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn own_key_signatures(&self, users: &[i64]) -> Result<Vec<KeySignature>, StorageError> {
        let sql = "SELECT target_sn, target, key_id, signature FROM key_signatures \
                   WHERE target_sn IN LIST($1) AND signer_sn = target_sn";
        self.query(sql, params![users], read_signature).await
    }

    /// The signatures that a user has added to keys of other users.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn key_signatures_by(&self, signer_sn: UserSn, users: &[i64]) -> Result<Vec<KeySignature>, StorageError> {
        let sql = "SELECT target_sn, target, key_id, signature FROM key_signatures \
                   WHERE signer_sn = $1 AND target_sn IN LIST($2) AND target_sn <> $1";
        self.query(sql, params![signer_sn, users], read_signature).await
    }

    /// Stores cross-signing keys in place of those of the same usage. `false` if `is_first` is expected and the user has a master key,
    /// which is not the one in `keys`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_cross_signing_keys(
        &self,
        user_sn: UserSn,
        keys: Vec<CrossSigningKey>,
        is_first: bool,
    ) -> Result<bool, StorageError> {
        self.write(async move |tx| {
            tx.hold_log().await?;
            let stored = tx.stored_cross_signing_keys(user_sn).await?;
            let changed: Vec<&CrossSigningKey> = keys.iter().filter(|key| !stored.contains(key)).collect();
            if is_first && !stored.is_empty() && !changed.is_empty() {
                return Ok(false);
            }
            if changed.is_empty() {
                return Ok(true);
            }
            let sql = "DELETE FROM key_signatures WHERE target_sn = $1 AND target = $2";
            for old in stored.iter().filter(|old| changed.iter().any(|new| new.usage == old.usage)) {
                tx.execute(sql, params![user_sn, &old.public_key]).await?;
            }
            let rows: Vec<Vec<Value<'_>>> = changed
                .iter()
                .map(|key| vec![user_sn.into(), key.usage.code().into(), (&key.public_key).into(), (&key.key).into()])
                .collect();
            let into = "cross_signing_keys (user_sn, usage, public_key, key) ON CONFLICT (user_sn, usage) \
                        DO UPDATE SET public_key = excluded.public_key, key = excluded.key";
            tx.insert_all(into, &rows).await?;
            tx.note_device_list_change(user_sn).await?;
            Ok(true)
        })
        .await
    }

    /// Adds signatures of a user, in place of those by the same key.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn add_key_signatures(
        &self,
        signer_sn: UserSn,
        signatures: Vec<NewKeySignature>,
    ) -> Result<(), StorageError> {
        self.write(async move |tx| {
            tx.hold_log().await?;
            let rows: Vec<Vec<Value<'_>>> = signatures
                .iter()
                .map(|new| {
                    let key = [new.target_sn.into(), (&new.target).into(), signer_sn.into()];
                    key.into_iter().chain([(&new.key_id).into(), (&new.signature).into()]).collect()
                })
                .collect();
            let sql = "INSERT INTO key_signatures (target_sn, target, signer_sn, key_id, signature) \
                       SELECT r.target_sn, r.target, r.signer_sn, r.key_id, r.signature \
                       FROM ROWS(target_sn, target, signer_sn, key_id, signature) r WHERE TRUE \
                       ON CONFLICT (target_sn, target, signer_sn, key_id) DO UPDATE SET signature = excluded.signature \
                       WHERE key_signatures.signature <> excluded.signature RETURNING target_sn";
            let changed = tx.query_rows(sql, &rows, |row| row.get::<UserSn>(0)).await?;
            let changed: std::collections::BTreeSet<UserSn> = changed.into_iter().collect();
            for target_sn in changed {
                if target_sn == signer_sn {
                    tx.note_device_list_change(signer_sn).await?;
                } else {
                    tx.note_signed_user(signer_sn, target_sn).await?;
                }
            }
            Ok(())
        })
        .await
    }
}

impl Tx {
    async fn stored_cross_signing_keys(&mut self, user_sn: UserSn) -> Result<Vec<CrossSigningKey>, StorageError> {
        let sql = "SELECT usage, public_key, key FROM cross_signing_keys WHERE user_sn = $1";
        self.query(sql, params![user_sn], |row| {
            let usage = CrossSigningUsage::from_code(row.get(0)?)?;
            Ok(CrossSigningKey { usage, public_key: row.get(1)?, key: row.get(2)? })
        })
        .await
    }
}
