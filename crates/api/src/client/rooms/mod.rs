//! Endpoints about rooms.

pub(super) mod aliases;
pub(super) mod context;
pub(super) mod create;
mod error;
pub(super) mod event;
pub(super) mod initial_sync;
pub(super) mod join;
pub(super) mod joined_members;
pub(super) mod joined_rooms;
pub(super) mod knock;
pub(super) mod members;
pub(super) mod membership;
pub(super) mod messages;
pub(super) mod read_markers;
mod reading;
pub(super) mod receipt;
pub(super) mod redact;
pub(super) mod relations;
pub(super) mod send;
pub(super) mod state_get;
pub(super) mod state_put;
pub(super) mod threads;
pub(super) mod timestamp_to_event;
pub(super) mod typing;
pub(super) mod upgrade;
mod via;
