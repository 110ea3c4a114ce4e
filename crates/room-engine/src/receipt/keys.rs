//! Public keys of servers, and when they count.

use std::collections::BTreeMap;

use ruma::{OwnedServerName, ServerName};

use crate::{RoomVersion, content::decode_base64};

/// An ed25519 key that a server [published](https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyKey {
    pub(super) public_key: [u8; 32],
    validity: KeyValidity,
}

/// Until when a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyValidity {
    /// From `verify_keys`.
    Current {
        /// Milliseconds since the Unix epoch.
        valid_until_ts: i64,
    },
    /// From `old_verify_keys`.
    Old {
        /// Milliseconds since the Unix epoch.
        expired_ts: i64,
    },
}

/// The text is not an ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The key is not the Base64 of 32 bytes.")]
pub struct MalformedKey;

impl VerifyKey {
    /// How far into the future a `valid_until_ts` is believed.
    const MAX_VALIDITY_MS: i64 = 7 * 24 * 60 * 60 * 1000;

    /// A key of `verify_keys`. Whatever it says, it counts for seven days after it was obtained at most; see the
    /// [validity period](https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period). Times are milliseconds
    /// since the Unix epoch.
    ///
    /// # Errors
    /// When `key` is not the Base64 of 32 bytes.
    pub fn current(key: &str, valid_until_ts: i64, obtained_at_ms: i64) -> Result<Self, MalformedKey> {
        let believed_until = obtained_at_ms.saturating_add(Self::MAX_VALIDITY_MS);
        Self::new(key, KeyValidity::Current { valid_until_ts: valid_until_ts.min(believed_until) })
    }

    /// A key of `old_verify_keys`. The time is milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When `key` is not the Base64 of 32 bytes.
    pub fn old(key: &str, expired_ts: i64) -> Result<Self, MalformedKey> {
        Self::new(key, KeyValidity::Old { expired_ts })
    }

    fn new(key: &str, validity: KeyValidity) -> Result<Self, MalformedKey> {
        let bytes = decode_base64(key).ok_or(MalformedKey)?;
        Ok(Self { public_key: bytes.try_into().map_err(|_| MalformedKey)?, validity })
    }

    /// Until when the key counts.
    pub const fn validity(&self) -> KeyValidity {
        self.validity
    }

    /// Whether a signature by this key counts.
    pub const fn is_valid_for(&self, key_use: KeyUse) -> bool {
        match (key_use, self.validity) {
            (KeyUse::Event { origin_server_ts, .. }, KeyValidity::Old { expired_ts }) => origin_server_ts <= expired_ts,
            (KeyUse::Event { version, origin_server_ts }, KeyValidity::Current { valid_until_ts }) => {
                !version.rules().enforce_key_validity || origin_server_ts <= valid_until_ts
            }
            (KeyUse::Now { now_ms }, KeyValidity::Current { valid_until_ts }) => now_ms <= valid_until_ts,
            (KeyUse::Now { .. }, KeyValidity::Old { .. }) => false,
        }
    }
}

/// What a signature was made for, which decides whether a key counts. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// An event. `valid_until_ts` counts since
    /// [version 5](https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period), `expired_ts` in every version.
    Event {
        /// The version of the room.
        version: RoomVersion,
        /// The time that the event claims to be of.
        origin_server_ts: i64,
    },
    /// A request or an answer, which is of the present.
    Now {
        /// The time of the check.
        now_ms: i64,
    },
}

/// A lookup of the keys of servers.
pub trait KeyLookup {
    /// The key of a server, by its whole ID, such as `ed25519:1`.
    fn verify_key(&self, server: &ServerName, key_id: &str) -> Option<&VerifyKey>;
}

/// A few keys in memory.
#[derive(Debug, Clone, Default)]
pub struct KeyRing(BTreeMap<OwnedServerName, BTreeMap<Box<str>, VerifyKey>>);

impl KeyRing {
    /// No keys.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a key, in place of one with the same ID.
    pub fn insert(&mut self, server: &ServerName, key_id: &str, key: VerifyKey) {
        self.0.entry(server.to_owned()).or_default().insert(key_id.into(), key);
    }
}

impl KeyLookup for KeyRing {
    fn verify_key(&self, server: &ServerName, key_id: &str) -> Option<&VerifyKey> {
        self.0.get(server)?.get(key_id)
    }
}
