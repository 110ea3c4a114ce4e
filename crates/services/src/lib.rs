//! One typed component per responsibility, each given exactly what it needs in its constructor. Nothing here knows of HTTP, and
//! no SQL stands here.
//!
//! # What is kept in memory, and what bounds it
//!
//! Everything here can be thrown away: it is read again from the database. What the following take together is bounded by one
//! budget, `caches.memory_budget`, which they [share by use](homeserver_core::MemoryBudget).
//!
//! | kept | in the metrics | kept up to date by |
//! |---|---|---|
//! | numbers and texts of users, rooms, event types, state keys | `user_numbers`, `user_ids`, … | never changes |
//! | chunks of rooms' states | `state_chunks` | never changes |
//! | the last state that this process wrote to a room | `written_states` | the writer; whoever uses it compares the version of the head |
//! | heads of rooms | `room_heads` | [`rooms::Timeline`], and the log of other nodes; the writer refuses what is built on an old one |
//! | the newest part of the log, at most a sixteenth of the budget | `log_tail` | the log |
//! | the rooms of users | `user_rooms` | the log |
//! | the members of rooms who have accounts here | `room_members` | the log |
//! | whom access tokens belong to | `sessions` | whoever revokes tokens, and the log of other nodes |
//! | stored filters | `filters` | never changes |
//! | the members of rooms with accounts here, for push rules | `audiences` | the log |
//! | whom users ignore | `ignored_users` | the log |
//! | compiled push rules | `push_rules` | never changes |
//! | which members clients were sent | `sent_members` | [`sync`] |
//! | the keys of other servers | `server_keys` | they are asked for anew when they expire |
//! | where other servers are | `server_destinations` | it is looked up anew after a while |
//! | which files have a content, and its thumbnails | `media`, `thumbnails` | never changes but for names, which the log tells; a file that is gone is looked for anew |
//!
//! The log is that of all nodes on the database. What the following keep each node keeps for itself: `sent_members` (another node sends a
//! member once more), the keys and places of other servers (it asks for them itself), the rate limits (each counts what it
//! sees; overrides are read again every minute), and when devices were last used (the later time is kept).
//!
//! What is needed to work is bounded otherwise:
//!
//! | kept | bounded by |
//! |---|---|
//! | requests that wait for something new ([`log::Wakeups`]) | one entry for each request that waits: `server.max_connections` |
//! | rooms whose state is known in part ([`storage::RoomStates`]) | the rooms that are being joined, and a thousand more |
//! | when devices were last seen, until it is written | 10,000 devices |
//! | writes, and transactions whose readers are to be woken | queues of fixed length |
//! | translations of SQL statements | the statements in the program |
//! | prepared statements and pages of SQLite | 256 statements for each connection, 32 MiB for the one that writes and 1 MiB for each that reads |

pub mod account_data;
pub mod accounts;
pub mod asking;
pub mod background;
pub mod capabilities;
pub mod devices;
pub mod discovery;
pub mod filters;
pub mod identity;
pub mod ignoring;
pub mod log;
pub mod mail;
pub mod media;
pub mod object;
pub mod passwords;
pub mod presence;
pub mod profiles;
pub mod push_rules;
pub mod rate_limits;
pub mod reading;
pub mod receipts;
pub mod registration;
pub mod remote;
pub mod rooms;
pub mod sessions;
pub mod sync;
pub mod threepids;
pub mod tokens;
pub mod typing;
pub mod uia;
mod unicode;
pub mod unread;
pub mod user_directory;
pub mod wire;

pub use storage::StorageError;
pub use tasks::limits;
