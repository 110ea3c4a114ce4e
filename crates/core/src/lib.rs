//! The vocabulary of all other crates: who this server is, interned identifiers, positions in the log, the clock,
//! random strings, and settings that change while they are read. Nothing here knows of databases, HTTP or rooms.

mod cache;
mod clock;
mod identity;
mod ids;
mod live;
mod memory;
mod random;

pub use cache::{Cache, CacheOptions};
pub use clock::{Clock, FixedClock, SystemClock, Timestamp};
pub use identity::Identity;
pub use ids::{DeviceSn, EventSn, KeySn, Position, RoomSn, ServerSn, TimelineOrder, TypeSn, UserSn};
pub use live::{Live, Reading};
pub use memory::{HeapSize, MemoryBudget, MemoryUsage, MemoryUser, allocation_bytes, table_bytes};
pub use random::{random_digits, random_string, random_token};
