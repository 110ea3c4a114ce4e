//! What clients need to encrypt for each other. The server stores and hands over; it can read none of it.
//!
//! * [`to_device`]: messages from device to device, each delivered once.
//! * [`keys`]: the identity keys of devices, and the one-time keys by which others begin sessions with them.
//! * [`backup`]: keys that decrypt messages, for the user's other clients.
//! * [`device_lists`]: whose keys have changed, for users who share rooms with them.
//!
//! What is read often is kept in memory and follows the log, so it is right on every node. The keys of users of other servers are kept in the
//! database for as long as a room is shared with them, because their servers tell of changes for that long.
//!
//! # What is kept in memory, and what bounds it
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | the oldest message that waits for each device | `to_device_queues` | its share of `caches.memory_budget` | the log |
//! | which keys of a device are left | `key_counts` | its share | the log |
//! | the keys of users, as clients are shown them | `user_keys` | its share | the log |

pub mod backup;
pub mod device_lists;
pub mod keys;
pub mod to_device;
