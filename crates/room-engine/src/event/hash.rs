//! The [hashes](https://spec.matrix.org/v1.19/server-server-api/#signing-events) of events.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma::room_version_rules::EventIdFormatVersion;
use sha2::{Digest as _, Sha256};

use crate::{Members, RoomVersion, canonical::ObjectWriter, redact::redact_for_signing};

/// SHA-256 as unpadded standard Base64, as in `hashes.sha256`.
pub(super) fn sha256_base64(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(bytes))
}

/// The [content hash](https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event) of a
/// PDU in canonical JSON.
pub(super) fn content_hash(pdu: &[u8]) -> [u8; 32] {
    let mut hashed = Vec::with_capacity(pdu.len());
    let mut writer = ObjectWriter::begin(&mut hashed);
    for (key, value) in Members::new(pdu).filter(|(key, _)| !matches!(*key, b"hashes" | b"signatures" | b"unsigned")) {
        writer.raw_key(key).extend_from_slice(value);
    }
    writer.end();
    Sha256::digest(&hashed).into()
}

/// The [reference hash](https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event)
/// of a PDU in canonical JSON, in the alphabet that the version's event IDs use.
pub(crate) fn reference_hash(version: RoomVersion, pdu: &[u8]) -> String {
    reference_hash_of_redacted(version, &redact_for_signing(version, pdu))
}

/// The reference hash of a PDU that is already redacted and without signatures.
pub(super) fn reference_hash_of_redacted(version: RoomVersion, redacted: &[u8]) -> String {
    let hash = Sha256::digest(redacted);
    match version.rules().event_id_format {
        EventIdFormatVersion::V1 | EventIdFormatVersion::V2 => STANDARD_NO_PAD.encode(hash),
        _ => URL_SAFE_NO_PAD.encode(hash),
    }
}
