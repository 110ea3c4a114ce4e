//! The rules of Matrix rooms, and nothing else: no input or output, no clock, no randomness.
//!
//! # The way of an event
//!
//! 1. [`CanonicalObject`] turns the JSON that a client sent into canonical JSON, or says what is wrong with it.
//! 2. [`auth::auth_types_for_event`] names the state that the event needs; the caller looks it up.
//! 3. [`EventBuilder`] hashes, signs and names the event, and gives a [`BuiltEvent`]: the parsed [`Pdu`] and the
//!    two JSON texts that are stored.
//! 4. [`auth::check`] decides, by the rules of the room's [`RoomVersion`], whether the event is allowed.
//! 5. Where branches of the room meet, [`resolution`] decides which state holds, with what [`auth_chain`] knows of their
//!    auth chains.
//! 6. [`visibility`] decides later who may read it, and [`redact`] what is left of it after a redaction.
//!
//! # State
//!
//! The state of a room at an event is a [`state_map::StateMap`]: one hash that stands for a sorted map, which is kept in
//! small chunks and shared with the states before and after it.
//!
//! An event of another server goes through the checks of [`receipt`] instead of steps 1 to 4.
//!
//! # Stored form
//!
//! An event is kept as two canonical JSON objects. `client_json` is what clients see, without `room_id` and
//! `unsigned`; `federation_json` is every other top-level key of the PDU. [`join`] makes the PDU of the two.

mod canonical;
mod content;
mod error;
mod event;
mod limits;
mod redact;
mod relation;
mod version;

pub mod auth;
pub mod auth_chain;
pub mod receipt;
pub mod resolution;
pub mod state_map;
pub mod visibility;

pub use canonical::{CanonicalObject, Members, Numbers, ParseLimits, elements, member, nesting, string_value};
pub use content::{
    CreateContent, JoinRule, MalformedValue, MemberContent, Membership, PowerLevelsContent, SignedInvite,
};
pub use error::{ErrorKind, EventError};
pub use event::{BuiltEvent, EventBuilder, EventReference, EventTemplate, Pdu, StoredJson, join, split};
pub use limits::{
    MAX_AUTH_EVENTS, MAX_CANONICAL_INTEGER, MAX_EVENT_BYTES, MAX_IDENTIFIER_BYTES, MAX_NESTING, MAX_PREV_EVENTS,
};
pub use redact::{redact, redact_pdu};
pub use relation::Relation;
pub use version::{RoomVersion, UnknownRoomVersion};
