//! What is new for a user: `/sync`, and what is written only to be told there.
//!
//! Begin with [`v3`]: [`v3::Sync`] answers what changed for a user since a position in the log, from the tail of the log where it
//! can. [`presence`], [`typing`] and [`receipts`] write who is there, who types and what was read, and keep what others are told
//! of it.
//!
//! # What is kept in memory, and what bounds it
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | which members clients were sent | `sent_members` | its share of `caches.memory_budget` | [`v3`]; each node remembers what it sent |
//! | who is there | | the users whose clients have asked lately | [`presence::Presences`] |
//! | who types | | the users who type | [`typing::Typing`] |
//! | the pieces of first answers that clients have not read yet | | the limit of first answers at once | [`v3`] |

pub mod presence;
pub mod receipts;
pub mod typing;
pub mod v3;
