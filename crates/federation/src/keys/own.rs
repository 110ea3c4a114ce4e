use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use homeserver_core::{Clock, Live, Timestamp};
use room_engine::receipt::{KeyRing, VerifyKey};
use room_engine::{CanonicalObject, EventError, Numbers};
use ruma::signatures::{Ed25519KeyPair, KeyPair as _};
use ruma::{OwnedServerName, ServerName};
use serde_json::{Map, Value, json};

use super::PublishedKeys;

/// How long others may believe a document.
const VALID_FOR: Duration = Duration::from_hours(24);
/// A document is signed anew when it is so old: nobody gets one that soon is not valid any more.
const SIGNED_ANEW_AFTER: Duration = Duration::from_hours(6);

/// A key that this server has signed with before. What it signed then stays valid.
#[derive(Clone, Debug)]
pub struct OldKey {
    /// Algorithm and version, such as `ed25519:a_1`.
    pub key_id: String,
    /// In unpadded base64.
    pub public_key: String,
    /// Since when nothing is signed with it.
    pub expired_at: Timestamp,
}

/// The document that tells others the keys of this server.
pub struct OwnKeys {
    server_name: OwnedServerName,
    key_pair: Arc<Ed25519KeyPair>,
    old: Vec<OldKey>,
    clock: Arc<dyn Clock>,
    signed: Live<Option<(Timestamp, Bytes)>>,
}

impl OwnKeys {
    /// The keys of the server with this name: the one that signs, and the `old` ones.
    #[must_use]
    pub fn new(
        server_name: OwnedServerName,
        key_pair: Arc<Ed25519KeyPair>,
        old: Vec<OldKey>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { server_name, key_pair, old, clock, signed: Live::new(None) }
    }

    /// The signed document, as JSON.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server>
    ///
    /// # Errors
    /// Only if the server's name or key cannot stand in JSON, which they can.
    pub fn document(&self) -> Result<Bytes, EventError> {
        let now = self.clock.now();
        if let Some((signed_at, document)) = &*self.signed.read()
            && now >= *signed_at
            && now.since(*signed_at) < SIGNED_ANEW_AFTER
        {
            return Ok(document.clone());
        }
        let document = self.sign(now)?;
        self.signed.replace(Some((now, document.clone())));
        Ok(document)
    }

    /// The server.
    pub(super) fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// The document of another server, to which this server adds its signature.
    pub(super) fn countersign(&self, object: &CanonicalObject) -> Result<Bytes, EventError> {
        let broken = |_| EventError::NotJson { offset: 0, reason: "a document of keys is not an object" };
        let mut document: Map<String, Value> = serde_json::from_slice(object.as_bytes()).map_err(broken)?;
        let signatures = document.remove("signatures");
        document.remove("unsigned");
        let message = CanonicalObject::from_serialize(&document, Numbers::Lenient)?;
        let mut signatures = signatures.and_then(|value| value.as_object().cloned()).unwrap_or_default();
        let signature = self.key_pair.sign(message.as_bytes()).base64();
        let key_id = format!("ed25519:{}", self.key_pair.version());
        signatures.insert(self.server_name.to_string(), json!({ key_id: signature }));
        document.insert("signatures".to_owned(), signatures.into());
        Ok(CanonicalObject::from_serialize(&document, Numbers::Lenient)?.to_bytes())
    }

    /// The keys, for checking what this server has signed. They count for events of any time.
    pub(super) fn published(&self) -> Arc<PublishedKeys> {
        let now = self.clock.now();
        let mut ring = KeyRing::new();
        for old in &self.old {
            if let Ok(key) = VerifyKey::old(&old.public_key, old.expired_at.0) {
                ring.insert(&self.server_name, &old.key_id, key);
            }
        }
        let current = STANDARD_NO_PAD.encode(self.key_pair.public_key());
        if let Ok(key) = VerifyKey::current(&current, i64::MAX, now.0) {
            ring.insert(&self.server_name, &format!("ed25519:{}", self.key_pair.version()), key);
        }
        Arc::new(PublishedKeys::own(self.server_name.clone(), ring, now, now.plus(VALID_FOR)))
    }

    fn sign(&self, now: Timestamp) -> Result<Bytes, EventError> {
        let (name, key_id) = (self.server_name.as_str(), format!("ed25519:{}", self.key_pair.version()));
        let public_key = STANDARD_NO_PAD.encode(self.key_pair.public_key());
        let old = |key: &OldKey| (key.key_id.clone(), json!({ "key": key.public_key, "expired_ts": key.expired_at.0 }));
        let old: serde_json::Map<_, _> = self.old.iter().map(old).collect();
        let mut document = json!({
            "server_name": name,
            "valid_until_ts": now.plus(VALID_FOR).0,
            "verify_keys": { &key_id: { "key": public_key } },
            "old_verify_keys": old,
        });
        let message = CanonicalObject::from_serialize(&document, Numbers::Strict)?;
        let signature = self.key_pair.sign(message.as_bytes()).base64();
        if let Some(document) = document.as_object_mut() {
            document.insert("signatures".to_owned(), json!({ name: { key_id: signature } }));
        }
        Ok(CanonicalObject::from_serialize(&document, Numbers::Strict)?.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use homeserver_core::FixedClock;
    use ruma::server_name;

    use super::*;
    use crate::keys::testing::key_pair;

    #[test]
    fn others_believe_the_document_and_never_get_one_that_soon_is_not_valid() {
        let name = server_name!("here.example");
        let clock = Arc::new(FixedClock::new(Timestamp(1_700_000_000_000)));
        let keys = OwnKeys::new(name.to_owned(), Arc::new(key_pair(7)), Vec::new(), clock.clone());
        let mut documents = HashSet::new();
        for hour in 0..48 {
            let (document, now) = (keys.document().unwrap(), clock.now());
            let read = PublishedKeys::read(&document, name, now).unwrap();
            assert!(read.has("ed25519:7"));
            assert!(read.believed_until() >= now.plus(Duration::from_hours(18)), "{hour}");
            documents.insert(document);
            clock.advance(Duration::from_hours(1));
        }
        assert_eq!(documents.len(), 8, "it is signed every six hours, not for everybody");
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_no_document_of_the_future() {
        let name = server_name!("here.example");
        let now = Timestamp(1_700_000_000_000);
        let signed = Live::new(Some((now.plus(VALID_FOR), Bytes::from_static(b"{}"))));
        let (key_pair, clock) = (Arc::new(key_pair(7)), Arc::new(FixedClock::new(now)));
        let keys = OwnKeys { server_name: name.to_owned(), key_pair, old: Vec::new(), clock, signed };
        let read = PublishedKeys::read(&keys.document().unwrap(), name, now).unwrap();
        assert_eq!(read.believed_until(), now.plus(VALID_FOR));
    }
}
