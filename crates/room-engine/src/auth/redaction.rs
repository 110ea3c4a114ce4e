//! Who may redact what.

use ruma::{EventId, UserId};

use super::{AuthError, PowerLevel, PowerLevels};
use crate::Pdu;

/// [Rule 11 of versions 1 and 2](https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules).
pub(super) fn check_redaction(event: &Pdu, levels: &PowerLevels) -> Result<(), AuthError> {
    let (have, needed) = (levels.user_level(event.sender()), levels.redact());
    let same_server = event.redacts().and_then(EventId::server_name) == event.event_id().server_name();
    if have >= PowerLevel::Finite(needed) || same_server {
        Ok(())
    } else {
        Err(AuthError::RedactionRefused { needed, have })
    }
}

/// Whether an accepted redaction takes effect: the sender has the redact level, or the redacted event is from the same
/// server. See [handling redactions](https://spec.matrix.org/v1.19/rooms/v11/#handling-redactions).
///
/// `levels` are those in force at the redaction. A server that keeps its users to their own events asks for
/// `sender == redacted_sender` in place of the second condition when it makes the redaction itself.
pub fn may_redact(levels: &PowerLevels, sender: &UserId, redacted_sender: &UserId) -> bool {
    levels.user_level(sender) >= PowerLevel::Finite(levels.redact())
        || sender.server_name() == redacted_sender.server_name()
}
