//! Reading rooms: who may see what, and the history, state and members of rooms.

mod visibility;

pub use visibility::Visibility;
