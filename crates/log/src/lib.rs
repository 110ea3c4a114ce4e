//! Following the log of this server: what happens in memory when a transaction has committed.
//!
//! Everything that clients can be told about is appended to one log. [`LogFollower`] is told of each transaction before anybody
//! has the answer to their write: begin reading there. It keeps the newest part of the log ([`LogTail`]) and who is in which room
//! ([`UserRoomsCache`]) up to date, and wakes the requests that wait for something new ([`Wakeups`]). [`tokens`] are what clients
//! call positions in the log.
//!
//! # What is kept in memory, and what bounds it
//!
//! What has a name in the metrics shares the budget `caches.memory_budget` with [all other caches](homeserver_core::MemoryBudget),
//! and is read again from the database when it was dropped.
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | the newest part of the log | `log_tail` | its share, at most a sixteenth of the budget, and 50,000 entries | the log |
//! | the rooms of users | `user_rooms` | its share | the log |
//! | the members of rooms who have accounts here | `room_members` | its share | the log |
//! | the other servers of rooms | `room_servers` | its share | the log |
//! | requests that wait for something new | | one entry for each: `server.max_connections` | each request |
//! | transactions whose readers are to be woken | | a queue of 1,024 | [`LogFollower`] |

mod follower;
mod room_servers;
mod tail;
pub mod tokens;
mod user_rooms;
mod wakeups;

pub use follower::{FollowObserver, LogFollower, LogProgress};
pub use room_servers::RoomServers;
pub use tail::LogTail;
pub use user_rooms::{Place, UserRooms, UserRoomsCache};
pub use wakeups::{Wakeup, Wakeups};
