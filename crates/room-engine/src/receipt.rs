//! Receiving an event of another server: the
//! [checks on receipt of a PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu).
//!
//! Each step is a type, and only passing it gives the next one:
//!
//! 1. [`ReceivedPdu::parse`]: the event has the form of its room version and belongs to the room. If its content hash is
//!    wrong, its redacted form continues. An event that fails is [`Dropped`].
//! 2. [`ReceivedPdu::verify`]: the servers that must have signed it have. The caller looks up the keys that
//!    [`ReceivedPdu::needed_signatures`] names. An event that fails is [`Dropped`].
//! 3. [`VerifiedPdu::check_auth_events`]: its `auth_events` allow it. The caller looks them up, passes them through
//!    the same steps first, and fetches the unknown ones. An event that fails is [`Rejected`].
//! 4. [`PermittedPdu::check_state_before`]: the state before it allows it. An event that fails is [`Rejected`].
//! 5. [`AllowedPdu::check_current_state`]: the current state allows it. An event that fails is [`SoftFailed`].
//!
//! An event of an auth chain, which only proves other events, ends after step 3. An event of the past, which has no current
//! state, ends after step 4. Both types have an `accept` for it.
//!
//! # What the caller does
//!
//! - Bytes, before they are parsed: a limit on the body and on the number of PDUs in it.
//! - The version of the room, which comes from the stored room and never from the event.
//! - Events that are known already: a second receipt must not judge an event again.
//! - Fetching unknown `prev_events` and `auth_events`, within bounds of count, depth and time, and remembering running
//!   fetches: in versions 1 and 2, where IDs are not hashes, references can lead in a circle. [`in_order`]
//!   arranges a batch so that each event comes after those it names, and sets such circles apart.
//! - The state before an event with unknown previous events. One without any has no state before it, and no event but
//!   the creation of a room is allowed there.
//! - The [policy server](https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures) of the
//!   room, if it has one: [`policy_server_has_signed`], and [`JudgedPdu::soft_fail`] for an event that it does not sign.

mod fault;
mod keys;
mod order;
mod parse;
mod signatures;
mod stages;
#[cfg(test)]
mod tests;

pub use fault::{Dropped, Rejected, SignatureFault, SoftFailed};
pub use keys::{KeyLookup, KeyRing, KeyUse, KeyValidity, MalformedKey, VerifyKey};
pub use order::{Ordered, in_order};
pub use parse::{Form, ReceivedPdu};
pub use signatures::{NeededSignature, Signer, policy_server_has_signed, verify_json, verify_message};
pub use stages::{AllowedPdu, JudgedPdu, PermittedPdu, Verdict, VerifiedPdu};
