//! Signatures on JSON objects.
//!
//! <https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature>

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ruma::signatures::verify_canonical_json_bytes;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, SigningKeyAlgorithm};

/// Clients write Base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The signature of `signer` by the key `key_id`, if the object has one.
pub(crate) fn signature<'a>(object: &'a CanonicalJsonObject, signer: &str, key_id: &str) -> Option<&'a str> {
    let CanonicalJsonValue::Object(signatures) = object.get("signatures")? else { return None };
    let CanonicalJsonValue::Object(of_signer) = signatures.get(signer)? else { return None };
    of_signer.get(key_id)?.as_str()
}

/// Adds a signature to the object.
pub(crate) fn add_signature(object: &mut CanonicalJsonObject, signer: &str, key_id: &str, signature: &str) {
    let empty = || CanonicalJsonValue::Object(CanonicalJsonObject::new());
    let signatures = object.entry("signatures".to_owned()).or_insert_with(empty);
    let CanonicalJsonValue::Object(signatures) = signatures else { return };
    let CanonicalJsonValue::Object(of_signer) = signatures.entry(signer.to_owned()).or_insert_with(empty) else {
        return;
    };
    of_signer.insert(key_id.to_owned(), CanonicalJsonValue::String(signature.to_owned()));
}

/// Whether two objects say the same but for their signatures and what servers add.
pub(crate) fn is_same_unsigned(one: &CanonicalJsonObject, other: &CanonicalJsonObject) -> bool {
    let signed = |object: &CanonicalJsonObject| {
        let mut signed = object.clone();
        signed.retain(|key, _| !["signatures", "unsigned"].contains(&key.as_str()));
        signed
    };
    signed(one) == signed(other)
}

/// Whether this is a signature of the object by the Ed25519 key, both written as Base64.
pub(crate) fn is_signed(object: &CanonicalJsonObject, public_key: &str, signature: &str) -> bool {
    let mut signed = object.clone();
    signed.retain(|key, _| !["signatures", "unsigned"].contains(&key.as_str()));
    let (Ok(public_key), Ok(signature)) = (BASE64.decode(public_key), BASE64.decode(signature)) else { return false };
    let Ok(message) = serde_json::to_vec(&signed) else { return false };
    verify_canonical_json_bytes(&SigningKeyAlgorithm::Ed25519, &public_key, &signature, &message).is_ok()
}
