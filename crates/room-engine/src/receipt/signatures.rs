//! Which servers must have signed an event, and whether they have.

use ruma::{OwnedServerName, ServerName, SigningKeyAlgorithm, UserId, signatures::verify_canonical_json_bytes};

use super::{KeyLookup, KeyUse, SignatureFault};
use crate::{
    CanonicalObject, Members, Membership, Pdu,
    canonical::{ObjectWriter, member, string_value},
    content::decode_base64,
    redact::redact_for_signing,
};

/// The most signatures of one server that are looked at. Servers sign with one key, and with two while they change it.
const MAX_SIGNATURES: usize = 32;
/// How the IDs of the keys begin that are understood.
const ED25519: &str = "ed25519:";

/// A server that must have signed an event, and the keys that it says it signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededSignature {
    /// The server.
    pub server: OwnedServerName,
    /// What makes its signature necessary.
    pub signer: Signer,
    /// The IDs of the keys, such as `ed25519:1`, for the caller to look up.
    pub key_ids: Vec<Box<str>>,
}

/// The part that a server has in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The server of the sender. An invite that began with a third party is exempt: the server of the invited user sends
    /// it in the name of the inviting one, and the identity server's signature on it takes the place of this one.
    Sender,
    /// The server in the event ID of versions 1 and 2.
    EventId,
    /// The server of the user in `join_authorised_via_users_server`, since version 8. It is not a matter of dropping the
    /// event but of [rule 4.2](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules).
    AuthorisingUser,
}

/// The servers that must have signed, each once.
///
/// See [validating signatures](https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events).
pub(super) fn needed_signatures(event: &Pdu) -> Vec<NeededSignature> {
    let mut needed: Vec<NeededSignature> = Vec::with_capacity(2);
    let signatures = event.signatures().unwrap_or_default();
    let mut add = |server: &ServerName, signer| {
        if !needed.iter().any(|known| known.server == server) {
            let key_ids = of_server(signatures, server).take(MAX_SIGNATURES).map(|(key_id, _)| key_id.into()).collect();
            needed.push(NeededSignature { server: server.to_owned(), signer, key_ids });
        }
    };
    if !is_third_party_invite(event) {
        add(event.sender().server_name(), Signer::Sender);
    }
    if event.version().rules().signatures.check_event_id_server
        && let Some(server) = event.event_id().server_name()
    {
        add(server, Signer::EventId);
    }
    if let Some(Some(user)) = authorising_user(event) {
        add(user.server_name(), Signer::AuthorisingUser);
    }
    needed
}

/// The exemption is decided on the form of the event that is kept. Were it decided on what came in, a content hash that
/// does not fit could make a forged invite lose its `third_party_invite` after it has spared it the signature.
fn is_third_party_invite(event: &Pdu) -> bool {
    event.membership() == Some(Membership::Invite) && event.content().value("third_party_invite").is_some()
}

/// Who vouches for a restricted join, where the version knows of it; `Some(None)` when it is not a user ID.
pub(super) fn authorising_user(event: &Pdu) -> Option<Option<&UserId>> {
    if !event.version().rules().signatures.check_join_authorised_via_users_server {
        return None;
    }
    match event.member().ok()?.join_authorised_via_users_server.as_ref() {
        Ok(user) => user.as_deref().map(Some),
        Err(_) => Some(None),
    }
}

/// What the signatures of an event are made of: its redacted form without them.
pub(super) fn signed_bytes(event: &Pdu) -> Vec<u8> {
    redact_for_signing(event.version(), &event.to_json())
}

/// Checks every signature of `server` by a known key that is valid. There must be at least one.
pub(super) fn check_signature<K: KeyLookup + ?Sized>(
    server: &ServerName,
    signatures: &[u8],
    message: &[u8],
    keys: &K,
    key_use: KeyUse,
) -> Result<(), SignatureFault> {
    let (count, limit) = (of_server(signatures, server).count(), MAX_SIGNATURES);
    if count == 0 {
        return Err(SignatureFault::Missing { server: server.to_owned() });
    }
    if count > limit {
        return Err(SignatureFault::TooMany { server: server.to_owned(), count, limit });
    }
    let mut is_signed = false;
    for (key_id, signature) in of_server(signatures, server) {
        let Some(key) = keys.verify_key(server, key_id).filter(|key| key.is_valid_for(key_use)) else { continue };
        if !is_signature(&key.public_key, signature, message) {
            return Err(SignatureFault::Wrong { server: server.to_owned(), key_id: key_id.into() });
        }
        is_signed = true;
    }
    if is_signed { Ok(()) } else { Err(SignatureFault::NoKnownKey { server: server.to_owned() }) }
}

/// The key IDs and signatures of one server whose algorithm is understood. `signatures` is canonical JSON.
fn of_server<'a>(signatures: &'a [u8], server: &ServerName) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    Members::new(member(signatures, server.as_str()).unwrap_or_default())
        .filter_map(|(key_id, signature)| Some((std::str::from_utf8(key_id).ok()?, signature)))
        .filter(|(key_id, _)| key_id.starts_with(ED25519))
}

/// Servers in the field write Base64 with and without padding, and in either alphabet.
fn is_signature(public_key: &[u8; 32], signature: &[u8], message: &[u8]) -> bool {
    string_value(signature).is_some_and(|text| is_signature_text(public_key, &text, message))
}

fn is_signature_text(public_key: &[u8; 32], signature: &str, message: &[u8]) -> bool {
    let Some(signature) = decode_base64(signature) else { return false };
    verify_canonical_json_bytes(&SigningKeyAlgorithm::Ed25519, public_key, &signature, message).is_ok()
}

/// Checks the signature of a server on a JSON object that is not an event, such as a list of keys. See
/// [checking for a signature](https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature).
///
/// # Errors
/// When the signature is missing or wrong, or no key that is known and counts was used.
pub fn verify_json<K: KeyLookup + ?Sized>(
    object: &CanonicalObject,
    server: &ServerName,
    keys: &K,
    key_use: KeyUse,
) -> Result<(), SignatureFault> {
    let mut message = Vec::with_capacity(object.as_bytes().len());
    let mut writer = ObjectWriter::begin(&mut message);
    for (key, value) in object.members().filter(|(key, _)| !matches!(*key, b"signatures" | b"unsigned")) {
        writer.raw_key(key).extend_from_slice(value);
    }
    writer.end();
    check_signature(server, object.value("signatures").unwrap_or_default(), &message, keys, key_use)
}

/// Checks a signature, its key's ID and its Base64, of a server on canonical JSON that never had `signatures` in it.
///
/// # Errors
/// When the signature is wrong, or the key is not known or does not count.
pub fn verify_message<K: KeyLookup + ?Sized>(
    message: &[u8],
    server: &ServerName,
    (key_id, signature): (&str, &str),
    keys: &K,
    key_use: KeyUse,
) -> Result<(), SignatureFault> {
    let known = keys.verify_key(server, key_id).filter(|key| key.is_valid_for(key_use));
    let Some(key) = known.filter(|_| key_id.starts_with(ED25519)) else {
        return Err(SignatureFault::NoKnownKey { server: server.to_owned() });
    };
    if is_signature_text(&key.public_key, signature, message) {
        Ok(())
    } else {
        Err(SignatureFault::Wrong { server: server.to_owned(), key_id: key_id.into() })
    }
}

/// Whether the policy server `via` of a room recommends the event, `public_key` being the one in `m.room.policy` as
/// unpadded Base64. The event that names the policy server is exempt.
///
/// See [policy server signatures](https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures).
pub fn policy_server_has_signed(event: &Pdu, via: &ServerName, public_key: &str) -> bool {
    if event.is_state("m.room.policy", "") {
        return true;
    }
    let signatures = event.signatures().unwrap_or_default();
    let signature = of_server(signatures, via).find(|(key_id, _)| *key_id == "ed25519:policy_server");
    let key = decode_base64(public_key).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    match (key, signature) {
        (Some(key), Some((_, signature))) => is_signature(&key, signature, &signed_bytes(event)),
        _ => false,
    }
}
