//! What is signed of a request.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use room_engine::receipt::{KeyLookup, KeyUse, SignatureFault, verify_message};
use room_engine::{CanonicalObject, EventError, Numbers, ParseLimits};
use ruma::ServerName;
use ruma::signatures::{Ed25519KeyPair, KeyPair as _};
use serde::Serialize;

use crate::credentials::Credentials;

/// What is signed of a request. Its members are in canonical order.
#[derive(Clone, Copy, Serialize, Debug)]
pub struct SignedRequest<'a> {
    /// The body, if there is one; see [`body`].
    #[serde(skip)]
    pub content: Option<&'a CanonicalObject>,
    /// The server that the request is for, by its name, wherever it was found.
    pub destination: &'a ServerName,
    /// `GET` and so on.
    pub method: &'a str,
    /// The server that makes the request.
    pub origin: &'a ServerName,
    /// Path and query, as they are sent.
    pub uri: &'a str,
}

/// Reads the body of a request: the text that is signed, and that is read from then on. `None` if the body is empty. Events in it may be
/// nested as deeply as their bytes allow.
///
/// # Errors
/// When it is not a JSON object, or longer than that.
pub fn body(json: &[u8], limit_bytes: usize) -> Result<Option<CanonicalObject>, EventError> {
    if json.trim_ascii().is_empty() {
        return Ok(None);
    }
    let limits = ParseLimits { numbers: Numbers::Lenient, max_bytes: limit_bytes, max_nesting: usize::MAX };
    CanonicalObject::parse_within(json, limits).map(Some)
}

impl SignedRequest<'_> {
    /// Signs the request.
    ///
    /// # Errors
    /// When the URI is too long for anything that is signed.
    pub fn sign(&self, key_pair: &Ed25519KeyPair) -> Result<Credentials, EventError> {
        Ok(Credentials {
            origin: self.origin.to_owned(),
            destination: Some(self.destination.to_owned()),
            key_id: format!("ed25519:{}", key_pair.version()),
            signature: key_pair.sign(&self.message()?).base64(),
        })
    }

    /// Checks a signature of the request by a key that is valid now. `now_ms` is milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is wrong, or the key unknown or not valid any more.
    pub fn verify<K: KeyLookup + ?Sized>(
        &self,
        credentials: &Credentials,
        keys: &K,
        now_ms: i64,
    ) -> Result<(), SignatureFault> {
        let Credentials { key_id, signature, .. } = credentials;
        let message = self.message().map_err(|_| SignatureFault::Missing { server: self.origin.to_owned() })?;
        verify_message(&message, self.origin, (key_id, signature), keys, KeyUse::Now { now_ms })
    }

    /// The canonical JSON. The body, which may be long, is the first member, and is copied as it is.
    fn message(&self) -> Result<Vec<u8>, EventError> {
        let others = CanonicalObject::from_serialize(self, Numbers::Strict)?;
        let others = others.as_bytes();
        let (Some(content), [_, members @ ..]) = (self.content, others) else { return Ok(others.to_vec()) };
        let content = content.as_bytes();
        let mut message = Vec::with_capacity(content.len() + others.len() + 16);
        for part in [b"{\"content\":", content, b",", members] {
            message.extend_from_slice(part);
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use room_engine::receipt::{KeyRing, VerifyKey};
    use ruma::server_name;

    use super::*;
    use crate::keys::testing::{key_pair, public_key};

    #[test]
    fn a_signature_holds_for_exactly_what_was_signed() {
        let (origin, destination) = (server_name!("origin.example"), server_name!("here.example"));
        let content = body(br#" { "b": [1.50, {}], "a": "x" }"#, 100).unwrap().unwrap();
        let (content, other_content) = (Some(&content), CanonicalObject::empty());
        let request =
            SignedRequest { content, destination, method: "PUT", origin, uri: "/_matrix/federation/v1/x?a=%23b" };
        let key = key_pair(1);
        let credentials = request.sign(&key).unwrap();
        let mut keys = KeyRing::new();
        keys.insert(origin, &credentials.key_id, VerifyKey::current(&public_key(&key), 1_000, 0).unwrap());
        assert_eq!(request.verify(&credentials, &keys, 1_000), Ok(()));
        for other in [
            SignedRequest { destination: origin, ..request },
            SignedRequest { method: "GET", ..request },
            SignedRequest { uri: "/_matrix/federation/v1/x?a=#b", ..request },
            SignedRequest { content: None, ..request },
            SignedRequest { content: Some(&other_content), ..request },
        ] {
            let fault = other.verify(&credentials, &keys, 1_000).unwrap_err();
            assert!(matches!(fault, SignatureFault::Wrong { .. }), "{other:?}: {fault:?}");
        }
        let fault = request.verify(&credentials, &keys, 1_001).unwrap_err();
        assert!(matches!(fault, SignatureFault::NoKnownKey { .. }), "the key has expired: {fault:?}");
        let garbage = Credentials { signature: "\"}".to_owned(), ..credentials };
        request.verify(&garbage, &keys, 1_000).unwrap_err();
    }

    #[test]
    fn what_is_signed_of_a_body_is_canonical_json() {
        let (origin, destination) = (server_name!("o.example"), server_name!("d.example"));
        let content = body(b"{\"b\":1,\n\"a\":\"\\u00e4\"}", 100).unwrap().unwrap();
        let request = SignedRequest { content: Some(&content), destination, method: "POST", origin, uri: "/x\"" };
        let expected = r#"{"content":{"a":"ä","b":1},"destination":"d.example","method":"POST","origin":"o.example","uri":"/x\""}"#;
        assert_eq!(String::from_utf8(request.message().unwrap()).unwrap(), expected);
        let without = SignedRequest { content: None, ..request };
        assert!(without.message().unwrap().starts_with(br#"{"destination""#));
    }

    #[test]
    fn a_body_is_an_object_nested_as_deeply_as_it_wants() {
        assert_eq!(body(b"", 10), Ok(None));
        assert_eq!(body(b" \n", 10), Ok(None));
        for bad in ["[]", "1", "{", r#"{"a":1}"#] {
            body(bad.as_bytes(), 6).unwrap_err();
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        body(deep.as_bytes(), 1 << 20).unwrap();
    }
}
