//! Following the log of this node: its newest part in memory, who is in which room, and who waits for something new.

mod follower;
mod tail;
mod user_rooms;
mod wakeups;

pub use follower::{FollowObserver, LogFollower, LogProgress};
pub use tail::LogTail;
pub use user_rooms::{Place, UserRooms, UserRoomsCache};
pub use wakeups::{Wakeup, Wakeups};
