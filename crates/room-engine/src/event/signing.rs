//! Adding signatures to an event that has some already.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{
    ServerName,
    signatures::{Ed25519KeyPair, KeyPair as _},
};

use super::Pdu;
use crate::{
    CanonicalObject, EventError, MAX_EVENT_BYTES, Members, Numbers, canonical::ObjectWriter, redact::redact_for_signing,
};

impl Pdu {
    /// The event with the signature of one more server.
    ///
    /// See [signing events](https://spec.matrix.org/v1.19/server-server-api/#signing-events).
    ///
    /// # Errors
    /// When the event is over its limit with it.
    pub fn signed(&self, server: &ServerName, key_pair: &Ed25519KeyPair) -> Result<Self, EventError> {
        let message = redact_for_signing(self.version(), &self.to_json());
        let signature = STANDARD_NO_PAD.encode(key_pair.sign(&message).as_bytes());
        let key_id = format!("ed25519:{}", key_pair.version());
        self.with_signatures(server, [(key_id.as_str(), signature.as_str())])
    }

    /// The event with further signatures of one server, which are not checked. `key_ids` and signatures are texts as in the event.
    ///
    /// # Errors
    /// When the event is over its limit with them.
    pub fn with_signatures<'a>(
        &self,
        server: &ServerName,
        signatures: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, EventError> {
        let malformed = |_| EventError::NotAnObject { key: "signatures" };
        let known = self.signatures().unwrap_or(b"{}");
        let mut all: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(known).map_err(malformed)?;
        let of_server = all.entry(server.to_string()).or_default();
        of_server.extend(signatures.into_iter().map(|(key_id, signature)| (key_id.to_owned(), signature.to_owned())));
        let all = CanonicalObject::from_serialize(&all, Numbers::Strict)?;
        let federation_json = self.federation_json();
        let mut rest = Vec::with_capacity(federation_json.len() + all.as_bytes().len());
        let mut writer = ObjectWriter::begin(&mut rest);
        for (key, value) in Members::new(federation_json) {
            let value = if key == b"signatures" { all.as_bytes() } else { value };
            writer.raw_key(key).extend_from_slice(value);
        }
        writer.end();
        let signed =
            Self::from_stored(self.version(), self.room_id().to_owned(), self.client_json().clone(), rest.into())?;
        let (size, limit) = (signed.to_json().len(), MAX_EVENT_BYTES);
        if size > limit { Err(EventError::TooLarge { what: "event", size, limit }) } else { Ok(signed) }
    }
}
