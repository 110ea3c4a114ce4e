//! What every other crate of the homeserver speaks in: interned identifiers, positions in the log, the clock, and random
//! strings. Nothing here knows of databases, HTTP or rooms.

mod clock;
mod ids;
mod random;

pub use clock::{Clock, FixedClock, SystemClock, Timestamp};
pub use ids::{DeviceSn, EventSn, KeySn, Position, RoomSn, TypeSn, UserSn};
pub use random::{random_digits, random_string, random_token};
