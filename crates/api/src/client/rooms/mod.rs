//! Endpoints about rooms.

mod error;
pub(super) mod aliases;
pub(super) mod create;
pub(super) mod join;
pub(super) mod knock;
pub(super) mod membership;
pub(super) mod redact;
pub(super) mod send;
pub(super) mod state_put;
