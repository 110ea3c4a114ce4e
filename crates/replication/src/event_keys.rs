//! Which keys are needed to check an event.

use federation::NeededKeys;
use room_engine::receipt::ReceivedPdu;

/// The keys that an event was signed with, as far as they matter.
pub(crate) fn keys_of_event(pdu: &ReceivedPdu) -> NeededKeys {
    let mut needed = NeededKeys::new();
    for signature in pdu.needed_signatures() {
        needed.entry(signature.server).or_default().extend(signature.key_ids.iter().map(ToString::to_string));
    }
    needed
}
