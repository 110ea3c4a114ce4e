use std::collections::BTreeMap;
use std::time::Duration;

use homeserver_core::{HeapSize, Timestamp, allocation_bytes};
use room_engine::receipt::{KeyLookup, KeyRing, KeyUse, SignatureFault, VerifyKey, verify_json};
use room_engine::{CanonicalObject, EventError, Numbers, ParseLimits};
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use tasks::limits::Busy;

use crate::client::{RequestError, excerpt};

/// The longest document of keys.
pub(super) const MAX_BYTES: usize = 64 << 10;
/// Levels of nested objects in one.
const MAX_NESTING: usize = 16;
/// However long a document says that it is valid, it is believed for seven days.
const BELIEVED_FOR: Duration = Duration::from_hours(7 * 24);

/// Why the keys of a server are not known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyError {
    /// Too many servers are being asked.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// It was asked in vain, now or a moment ago.
    #[error("The keys of {server} cannot be read")]
    Unreachable {
        /// The server.
        server: OwnedServerName,
    },
    /// The document is not one.
    #[error("The keys of {server} are not well-formed: {reason}")]
    Malformed {
        /// The server.
        server: OwnedServerName,
        /// What is wrong with it.
        reason: String,
    },
    /// The document is of another server.
    #[error("{server} answers with the keys of {other}")]
    OtherServer {
        /// The server that was asked.
        server: OwnedServerName,
        /// The server that answers.
        other: OwnedServerName,
    },
    /// None of the keys in it has signed it.
    #[error("The keys of {server} are not signed: {fault}")]
    Unsigned {
        /// The server.
        server: OwnedServerName,
        /// What is wrong with the signature.
        fault: SignatureFault,
    },
}

impl KeyError {
    pub(super) fn of_request(server: &ServerName, error: &RequestError) -> Self {
        match error {
            RequestError::Busy(busy) => Self::Busy(*busy),
            _ => Self::Unreachable { server: server.to_owned() },
        }
    }
}

/// The keys that a server has published.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    server: OwnedServerName,
    keys: KeyRing,
    believed_until: Timestamp,
    size_bytes: usize,
}

#[derive(Deserialize)]
struct Document {
    server_name: OwnedServerName,
    valid_until_ts: i64,
    verify_keys: BTreeMap<String, Key>,
    #[serde(default)]
    old_verify_keys: BTreeMap<String, OldKey>,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
struct OldKey {
    key: String,
    expired_ts: i64,
}

impl PublishedKeys {
    /// Reads the document of `server`, which was obtained at `now`, and checks that the server has signed it. Keys of kinds that
    /// nobody knows are left out.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(json: &[u8], server: &ServerName, now: Timestamp) -> Result<Self, KeyError> {
        let malformed = |reason: String| KeyError::Malformed { server: server.to_owned(), reason: excerpt(&reason) };
        let limits = ParseLimits { numbers: Numbers::Lenient, max_bytes: MAX_BYTES, max_nesting: MAX_NESTING };
        let object = CanonicalObject::parse_within(json, limits);
        let object = object.map_err(|error: EventError| malformed(error.to_string()))?;
        let document = serde_json::from_slice(object.as_bytes());
        let document: Document = document.map_err(|error| malformed(error.to_string()))?;
        if document.server_name != server {
            return Err(KeyError::OtherServer { server: server.to_owned(), other: document.server_name });
        }
        let mut keys = KeyRing::new();
        for (key_id, old) in &document.old_verify_keys {
            if let Ok(key) = VerifyKey::old(&old.key, old.expired_ts) {
                keys.insert(server, key_id, key);
            }
        }
        for (key_id, key) in &document.verify_keys {
            if let Ok(key) = VerifyKey::current(&key.key, document.valid_until_ts, now.0) {
                keys.insert(server, key_id, key);
            }
        }
        verify_json(&object, server, &keys, KeyUse::Now { now_ms: now.0 })
            .map_err(|fault| KeyError::Unsigned { server: server.to_owned(), fault })?;
        let believed_until = Timestamp(document.valid_until_ts).min(now.plus(BELIEVED_FOR));
        Ok(Self { server: server.to_owned(), keys, believed_until, size_bytes: object.as_bytes().len() })
    }

    /// Whether the server has this key, or had it once.
    #[must_use]
    pub fn has(&self, key_id: &str) -> bool {
        self.keys.verify_key(&self.server, key_id).is_some()
    }

    /// Until when these keys are those of the server, without asking again.
    #[must_use]
    pub fn believed_until(&self) -> Timestamp {
        self.believed_until
    }
}

impl KeyLookup for PublishedKeys {
    fn verify_key(&self, server: &ServerName, key_id: &str) -> Option<&VerifyKey> {
        self.keys.verify_key(server, key_id)
    }
}

/// A map takes about twice the text that it was read from.
impl HeapSize for PublishedKeys {
    fn heap_bytes(&self) -> usize {
        allocation_bytes(2 * self.size_bytes + self.server.as_str().len())
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use ruma::signatures::KeyPair as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::testing::{key_pair, public_key};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn document(valid_until: i64) -> Value {
        json!({
            "server_name": "there.example",
            "valid_until_ts": valid_until,
            "verify_keys": {
                "ed25519:1": { "key": public_key(&key_pair(1)) },
                "ed25519:broken": { "key": "AAAA" },
                "future:1": { "key": "whatever", "more": 1.5 },
            },
            "old_verify_keys": { "ed25519:2": { "key": public_key(&key_pair(2)), "expired_ts": 5 } },
        })
    }

    /// The document with a signature by the key of that number, which is told as that of another number.
    fn signed(mut document: Value, by: u8, told_as: u8) -> Vec<u8> {
        let message = CanonicalObject::from_serialize(&document, Numbers::Lenient).unwrap();
        let signature = key_pair(by).sign(message.as_bytes()).base64();
        document["signatures"] = json!({ "there.example": { format!("ed25519:{told_as}"): signature } });
        document.to_string().into_bytes()
    }

    fn read(json: &[u8]) -> Result<PublishedKeys, KeyError> {
        PublishedKeys::read(json, server_name!("there.example"), NOW)
    }

    #[test]
    fn a_document_tells_what_is_valid_and_what_was() {
        let keys = read(&signed(document(NOW.0 + 1_000), 1, 1)).unwrap();
        assert_eq!(
            ["ed25519:1", "ed25519:2", "ed25519:broken", "ed25519:3"].map(|id| keys.has(id)),
            [true, true, false, false]
        );
        assert_eq!(keys.believed_until(), NOW.plus(Duration::from_secs(1)));
        let for_ever = read(&signed(document(i64::MAX >> 11), 1, 1)).unwrap();
        assert_eq!(for_ever.believed_until(), NOW.plus(BELIEVED_FOR));
    }

    #[test]
    fn a_document_that_its_server_has_not_signed_is_refused() {
        let in_time = NOW.0 + 1_000;
        for (what, json) in [
            ("no signature", document(in_time).to_string().into_bytes()),
            ("another key", signed(document(in_time), 3, 1)),
            ("an old key", signed(document(in_time), 2, 2)),
            ("a key that is not in it", signed(document(in_time), 3, 3)),
            ("not valid any more", signed(document(NOW.0 - 1), 1, 1)),
        ] {
            let error = read(&json).unwrap_err();
            assert!(matches!(error, KeyError::Unsigned { .. }), "{what}: {error}");
        }
        let mut other = document(in_time);
        other["server_name"] = json!("other.example");
        assert!(matches!(read(&signed(other, 1, 1)), Err(KeyError::OtherServer { .. })));
        let deep = format!("{}{}", r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
        for malformed in ["", "[]", "{}", r#"{"server_name":1}"#, &deep] {
            assert!(matches!(read(malformed.as_bytes()), Err(KeyError::Malformed { .. })));
        }
    }
}
