//! The [size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits) of events.

/// Bytes of a whole PDU as canonical JSON, signatures included.
pub const MAX_EVENT_BYTES: usize = 65_536;

/// Bytes of a `sender`, `type`, `state_key`, `room_id` or `event_id`.
pub const MAX_IDENTIFIER_BYTES: usize = 255;

/// Levels of objects and arrays inside one another in content that clients send, the content itself included. Events of other
/// servers have no such limit but their bytes.
pub const MAX_NESTING: usize = 100;

/// The largest [canonical integer](https://spec.matrix.org/v1.19/appendices/#canonical-json); the smallest is its negative.
pub const MAX_CANONICAL_INTEGER: i64 = (1 << 53) - 1;

/// Entries of a PDU's `prev_events`.
pub const MAX_PREV_EVENTS: usize = 20;

/// Entries of a PDU's `auth_events`.
pub const MAX_AUTH_EVENTS: usize = 10;
