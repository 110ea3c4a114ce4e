use std::collections::BTreeMap;
use std::time::Duration;

use homeserver_core::{HeapSize, Timestamp, allocation_bytes};
use room_engine::receipt::{KeyLookup, KeyRing, KeyUse, SignatureFault, VerifyKey, verify_json};
use room_engine::{CanonicalObject, EventError, Numbers, ParseLimits};
use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use storage::StoredServerKeys;
use tasks::limits::Busy;

use crate::client::{RequestError, excerpt};

/// The longest document of keys.
pub(super) const MAX_BYTES: usize = 64 << 10;
/// Levels of nested objects in one.
pub(super) const MAX_NESTING: usize = 16;
/// However long a document says that it is valid, it is believed for seven days.
const BELIEVED_FOR: Duration = Duration::from_hours(7 * 24);
/// Keys of earlier documents that are kept.
const MAX_DROPPED: usize = 64;

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
    /// What is stored of a server is not of one.
    #[error("{server_name} is stored as the name of a server")]
    Stored {
        /// What is stored.
        server_name: String,
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

/// The keys in the newest document of a server, and those of its earlier documents.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    server: OwnedServerName,
    /// The document, as canonical JSON with its signatures; that of this server itself is not needed here.
    object: CanonicalObject,
    document: Document,
    fetched_at: Timestamp,
    /// Keys of earlier documents.
    dropped: BTreeMap<String, OldKey>,
    keys: KeyRing,
}

#[derive(Clone, Deserialize, Debug)]
struct Document {
    server_name: OwnedServerName,
    valid_until_ts: i64,
    verify_keys: BTreeMap<String, Key>,
    #[serde(default)]
    old_verify_keys: BTreeMap<String, OldKey>,
}

#[derive(Clone, Deserialize, Debug)]
struct Key {
    key: String,
}

#[derive(Clone, Serialize, Deserialize, Debug)]
struct OldKey {
    key: String,
    expired_ts: i64,
}

/// Who a document was got from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// The server itself: it must be valid.
    Itself,
    /// A notary, or the database: it was valid once, and shows what the server signed then.
    Elsewhere,
}

impl PublishedKeys {
    /// Reads the document of `server`, which was obtained from it at `now`, and checks that the server has signed it. Keys of kinds that
    /// nobody knows are left out.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(json: &[u8], server: &ServerName, now: Timestamp) -> Result<Self, KeyError> {
        Self::read_from(Source::Itself, json, server, now)
    }

    /// As [`PublishedKeys::read`], from somewhere.
    pub(super) fn read_from(
        source: Source,
        json: &[u8],
        server: &ServerName,
        now: Timestamp,
    ) -> Result<Self, KeyError> {
        let malformed = |reason: String| KeyError::Malformed { server: server.to_owned(), reason: excerpt(&reason) };
        let limits = ParseLimits { numbers: Numbers::Lenient, max_bytes: MAX_BYTES, max_nesting: MAX_NESTING };
        let object = CanonicalObject::parse_within(json, limits);
        let object = object.map_err(|error: EventError| malformed(error.to_string()))?;
        let document = serde_json::from_slice(object.as_bytes());
        let document: Document = document.map_err(|error| malformed(error.to_string()))?;
        if document.server_name != server {
            return Err(KeyError::OtherServer { server: server.to_owned(), other: document.server_name });
        }
        let read = Self::of_document(object, document, now);
        let checked_at = match source {
            Source::Itself => now.0,
            Source::Elsewhere => now.0.min(read.document.valid_until_ts),
        };
        verify_json(&read.object, server, &read.keys, KeyUse::Now { now_ms: checked_at })
            .map_err(|fault| KeyError::Unsigned { server: server.to_owned(), fault })?;
        Ok(read)
    }

    /// Reads what was stored.
    pub(super) fn from_stored(stored: &StoredServerKeys) -> Result<Self, KeyError> {
        let StoredServerKeys { server_name, document, dropped, fetched_at } = stored;
        let server = ServerName::parse(server_name.as_str());
        let server = server.map_err(|_| KeyError::Stored { server_name: server_name.clone() })?;
        let read = Self::read_from(Source::Elsewhere, document, &server, *fetched_at)?;
        Ok(read.with_dropped(serde_json::from_str(dropped).unwrap_or_default()))
    }

    /// What is stored of them.
    pub(super) fn to_stored(&self) -> StoredServerKeys {
        StoredServerKeys {
            server_name: self.server.to_string(),
            document: self.object.as_bytes().to_vec(),
            dropped: serde_json::to_string(&self.dropped).unwrap_or_default(),
            fetched_at: self.fetched_at,
        }
    }

    /// Keys of this server, which nobody has to prove.
    pub(super) fn own(server: OwnedServerName, keys: KeyRing, now: Timestamp, valid_until: Timestamp) -> Self {
        let (verify_keys, old_verify_keys) = (BTreeMap::new(), BTreeMap::new());
        let (server_name, valid_until_ts) = (server.clone(), valid_until.0);
        let document = Document { server_name, valid_until_ts, verify_keys, old_verify_keys };
        Self { server, object: CanonicalObject::empty(), document, fetched_at: now, dropped: BTreeMap::new(), keys }
    }

    fn of_document(object: CanonicalObject, document: Document, now: Timestamp) -> Self {
        let server = document.server_name.clone();
        let mut keys = KeyRing::new();
        insert_old(&mut keys, &server, &document.old_verify_keys);
        for (key_id, key) in &document.verify_keys {
            if let Ok(key) = VerifyKey::current(&key.key, document.valid_until_ts, now.0) {
                keys.insert(&server, key_id, key);
            }
        }
        Self { server, object, document, fetched_at: now, dropped: BTreeMap::new(), keys }
    }

    /// Adds the keys of earlier documents that are missing in this one. They are valid for events that are older than this document.
    #[must_use]
    pub(super) fn after(self, before: &Self) -> Self {
        let counted_until = before.document.valid_until_ts.min(self.fetched_at.0);
        let current = before.document.verify_keys.iter();
        let current = current.map(|(id, key)| (id, OldKey { key: key.key.clone(), expired_ts: counted_until }));
        let old = before.document.old_verify_keys.iter().chain(&before.dropped);
        let all = old.map(|(id, key)| (id, key.clone())).chain(current);
        let dropped = all.filter(|(id, _)| !self.is_in_document(id)).map(|(id, key)| (id.clone(), key));
        let dropped = dropped.take(MAX_DROPPED).collect();
        self.with_dropped(dropped)
    }

    fn with_dropped(mut self, dropped: BTreeMap<String, OldKey>) -> Self {
        insert_old(&mut self.keys, &self.server, &dropped);
        self.dropped = dropped;
        self
    }

    fn is_in_document(&self, key_id: &str) -> bool {
        self.document.verify_keys.contains_key(key_id) || self.document.old_verify_keys.contains_key(key_id)
    }

    /// Whose they are.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    /// The signed document, as canonical JSON.
    pub(super) fn object(&self) -> &CanonicalObject {
        &self.object
    }

    /// When they were got.
    pub(super) fn fetched_at(&self) -> Timestamp {
        self.fetched_at
    }

    /// Until when the document is valid, as it says.
    pub(super) fn valid_until(&self) -> Timestamp {
        Timestamp(self.document.valid_until_ts)
    }

    /// Whether the server has this key, or had it once.
    #[must_use]
    pub fn has(&self, key_id: &str) -> bool {
        self.keys.verify_key(&self.server, key_id).is_some()
    }

    /// Whether the server signs with this key now, as far as is known.
    pub(super) fn has_current(&self, key_id: &str) -> bool {
        self.document.verify_keys.contains_key(key_id) && self.has(key_id)
    }

    /// Until when these keys are those of the server, without asking again.
    #[must_use]
    pub fn believed_until(&self) -> Timestamp {
        self.valid_until().min(self.fetched_at.plus(BELIEVED_FOR))
    }
}

/// Keys that count for what is older than their expiry.
fn insert_old(keys: &mut KeyRing, server: &ServerName, old: &BTreeMap<String, OldKey>) {
    for (key_id, old) in old {
        if let Ok(key) = VerifyKey::old(&old.key, old.expired_ts) {
            keys.insert(server, key_id, key);
        }
    }
}

impl KeyLookup for PublishedKeys {
    fn verify_key(&self, server: &ServerName, key_id: &str) -> Option<&VerifyKey> {
        self.keys.verify_key(server, key_id)
    }
}

/// The text, and two maps that take about twice as much each.
impl HeapSize for PublishedKeys {
    fn heap_bytes(&self) -> usize {
        allocation_bytes(5 * self.object.as_bytes().len() + 200 * self.dropped.len())
    }
}

#[cfg(test)]
mod tests {
    use room_engine::receipt::KeyValidity;
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
    fn keys_that_are_dropped_count_for_what_is_older() {
        let before = read(&signed(document(NOW.0 + 1_000), 1, 1)).unwrap();
        let later = NOW.plus(Duration::from_millis(500));
        let mut new = document(later.0 + 1_000);
        new["verify_keys"] = json!({ "ed25519:4": { "key": public_key(&key_pair(4)) } });
        new["old_verify_keys"] = json!({});
        let server = server_name!("there.example");
        let new = PublishedKeys::read(&signed(new, 4, 4), server, later).unwrap().after(&before);
        let new = PublishedKeys::from_stored(&new.to_stored()).unwrap();
        assert_eq!(["ed25519:1", "ed25519:2", "ed25519:4"].map(|id| new.has(id)), [true; 3]);
        assert!(new.has_current("ed25519:4") && !new.has_current("ed25519:1"));
        let validity = |id| new.verify_key(server, id).unwrap().validity();
        assert_eq!(validity("ed25519:1"), KeyValidity::Old { expired_ts: later.0 });
        assert_eq!(validity("ed25519:2"), KeyValidity::Old { expired_ts: 5 });
    }

    #[test]
    fn a_document_of_the_past_is_read_from_elsewhere() {
        let past = signed(document(NOW.0 - 1), 1, 1);
        let told = |json: &[u8]| PublishedKeys::read_from(Source::Elsewhere, json, server_name!("there.example"), NOW);
        assert_eq!(told(&past).unwrap().believed_until(), Timestamp(NOW.0 - 1));
        told(&signed(document(NOW.0 - 1), 3, 1)).unwrap_err();
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
