//! What is done with an event of another server: the
//! [checks on receipt of a PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu).
//!
//! Each step is a type, and the next one is only to be had by passing it:
//!
//! 1. [`ReceivedPdu::parse`]: the event has the form of its room version and belongs to the room. Where its content hash
//!    does not fit, only the redacted form goes on. What fails is [`Dropped`].
//! 2. [`ReceivedPdu::verify`]: the servers that must have signed it have. The caller looks up the keys that
//!    [`ReceivedPdu::needed_signatures`] names. What fails is [`Dropped`].
//! 3. [`VerifiedPdu::check_auth_events`]: the events that it says permit it do. The caller looks those up, has them go
//!    through the same steps first, and fetches the unknown ones. What fails is [`Rejected`].
//! 4. [`PermittedPdu::check_state_before`]: the state before it allows it; what fails is [`Rejected`].
//! 5. [`AllowedPdu::check_current_state`]: so does the current state; what fails is [`SoftFailed`].
//!
//! An event that is only needed as evidence for others, such as one of an auth chain, ends after step 3, and one of the
//! past, where there is no current state to speak of, after step 4; both have an `accept` for it.
//!
//! # What stays with the caller
//!
//! - Bytes, before they are parsed: a limit on the body and on the number of PDUs in it.
//! - The version of the room, which is taken from what is known of the room and never from the event.
//! - Events that are known already: a second receipt must not judge anew what was decided.
//! - Fetching what `prev_events` and `auth_events` name, within bounds of count, depth and time, and remembering what is
//!   being fetched: in versions 1 and 2, where IDs are not hashes, references can lead in a circle. [`in_order`]
//!   arranges a batch so that each event comes after those it names, and sets such circles apart.
//! - The state before an event with unknown previous events. One without any has no state before it, and no event but
//!   the creation of a room is allowed there.
//! - The [policy server](https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures) of the
//!   room, where it has one: [`policy_server_has_signed`], and [`JudgedPdu::soft_fail`] for what it does not sign.

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
pub use signatures::{NeededSignature, Signer, policy_server_has_signed, verify_json};
pub use stages::{AllowedPdu, JudgedPdu, PermittedPdu, Verdict, VerifiedPdu};
