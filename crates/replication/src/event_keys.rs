//! Which keys are needed to check events.

use std::collections::BTreeMap;

use federation::NeededKeys;
use room_engine::receipt::ReceivedPdu;
use ruma::{EventId, OwnedEventId, OwnedServerName, OwnedUserId};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The most keys of one server that are asked for.
const MAX_KEYS_OF_SERVER: usize = 32;

/// The keys that one event was signed with, as far as they matter.
pub(crate) fn keys_of_event(pdu: &ReceivedPdu) -> NeededKeys {
    let mut needed = NeededKeys::new();
    for signature in pdu.needed_signatures() {
        needed.entry(signature.server).or_default().extend(signature.key_ids.iter().map(ToString::to_string));
    }
    needed
}

/// Adds the keys that an event was signed with, before the event is read as one. Only servers count that must have signed.
pub(crate) fn add_keys_of_text(needed: &mut NeededKeys, json: &[u8]) {
    #[derive(Deserialize)]
    struct Signed {
        sender: OwnedUserId,
        event_id: Option<OwnedEventId>,
        #[serde(default)]
        content: Content,
        signatures: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
    }
    #[derive(Default, Deserialize)]
    struct Content {
        join_authorised_via_users_server: Option<OwnedUserId>,
    }
    let Ok(signed) = serde_json::from_slice::<Signed>(json) else { return };
    let vouching = signed.content.join_authorised_via_users_server.as_ref().map(|user_id| user_id.server_name());
    let by_id = signed.event_id.as_deref().and_then(EventId::server_name);
    for server in [Some(signed.sender.server_name()), vouching, by_id].into_iter().flatten() {
        let Some(signatures) = signed.signatures.get(server.as_str()) else { continue };
        let keys = needed.entry(OwnedServerName::from(server)).or_default();
        for key_id in signatures.keys().filter(|key_id| key_id.starts_with("ed25519:")) {
            if keys.len() < MAX_KEYS_OF_SERVER {
                keys.insert(key_id.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_must_have_signed_are_asked() {
        let mut needed = NeededKeys::new();
        let text = r#"{"sender":"@a:a.example","event_id":"$x:b.example","content":{"join_authorised_via_users_server":"@c:c.example"},
            "signatures":{"a.example":{"ed25519:1":"x","rsa:1":"y"},"b.example":{"ed25519:2":5},"d.example":{"ed25519:1":"x"}}}"#;
        add_keys_of_text(&mut needed, text.as_bytes());
        add_keys_of_text(&mut needed, b"{}");
        let servers: Vec<&str> = needed.keys().map(|server| server.as_str()).collect();
        assert_eq!(servers, ["a.example", "b.example"]);
        let keys: Vec<&String> = needed.values().flatten().collect();
        assert_eq!(keys, ["ed25519:1", "ed25519:2"]);
    }
}
