//! How users of other servers get into the rooms of this one, and out of them.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

pub(super) mod bound;
mod error;
pub(super) mod invite;
pub(super) mod make;
pub(super) mod send_join;
pub(super) mod send_knock;
pub(super) mod send_leave;
pub(super) mod third_party;
