//! What a homeserver signs.

use anyhow::Context as _;
use http::Method;
use ruma::CanonicalJsonObject;
use ruma::room_version_rules::RoomVersionRules;
use ruma::serde::Base64;
use ruma::serde::base64::Standard;
use ruma::signatures::{Ed25519KeyPair, hash_and_sign_event, reference_hash, sign_json};
use serde_json::{Value, json};

/// The name of the key.
const KEY: &str = "lt";
const FAR_FUTURE_MS: u64 = 4_000_000_000_000;

/// One key pair, which all servers of the load generator share.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Ed25519KeyPair::from_der(&Ed25519KeyPair::generate(), KEY.to_owned())?))
    }

    /// The keys of a server, signed by it and by others.
    pub(crate) fn keys(&self, server: &str, notaries: &[&str]) -> anyhow::Result<Value> {
        let key = Base64::<Standard, _>::new(self.0.public_key()).encode();
        let keys = json!({
            "server_name": server,
            "valid_until_ts": FAR_FUTURE_MS,
            "verify_keys": { format!("ed25519:{KEY}"): { "key": key } },
            "old_verify_keys": {},
        });
        notaries.iter().try_fold(self.signed(server, &keys)?, |keys, notary| self.signed(notary, &keys))
    }

    /// The `Authorization` header of a request.
    pub(crate) fn authorization(
        &self,
        (origin, destination): (&str, &str),
        method: &Method,
        uri: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<String> {
        let mut request =
            json!({ "method": method.as_str(), "uri": uri, "origin": origin, "destination": destination });
        if let (Some(request), Some(body)) = (request.as_object_mut(), body) {
            request.insert("content".to_owned(), body.clone());
        }
        let signed = self.signed(origin, &request)?;
        let signature = signed.pointer(&format!("/signatures/{origin}/ed25519:{KEY}")).and_then(Value::as_str);
        let signature = signature.context("it was signed")?;
        Ok(format!(r#"X-Matrix origin="{origin}",destination="{destination}",key="ed25519:{KEY}",sig="{signature}""#))
    }

    /// An event of room version 11 with its hash and signature, and its ID.
    pub(crate) fn event(&self, origin: &str, event: &Value) -> anyhow::Result<(String, Value)> {
        let mut object: CanonicalJsonObject = serde_json::from_value(event.clone())?;
        hash_and_sign_event(origin, &self.0, &mut object, &RoomVersionRules::V11.redaction)?;
        let event = serde_json::to_value(object)?;
        Ok((event_id(&event)?, event))
    }

    fn signed(&self, server: &str, object: &Value) -> anyhow::Result<Value> {
        let mut object: CanonicalJsonObject = serde_json::from_value(object.clone())?;
        sign_json(server, &self.0, &mut object)?;
        Ok(serde_json::to_value(object)?)
    }
}

/// The ID of an event of room version 11.
pub(crate) fn event_id(event: &Value) -> anyhow::Result<String> {
    let object: CanonicalJsonObject = serde_json::from_value(event.clone())?;
    Ok(format!("${}", reference_hash(&object, &RoomVersionRules::V11)?))
}
