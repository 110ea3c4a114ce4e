//! Endpoints about aliases and the directory of public rooms.

pub(super) mod alias;
pub(super) mod public_rooms;
pub(super) mod visibility;
