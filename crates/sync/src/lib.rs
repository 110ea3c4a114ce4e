//! What is new for a user: `/sync`, and what is written only to be told there.
//!
//! Begin with [`v3`]: [`v3::Sync`] answers what changed for a user since a position in the log. It asks the [`providers`], one for each
//! kind of data, which know nothing of the form of an answer. [`presence`], [`typing`] and [`receipts`] take what clients say of
//! presence, typing and reading, write it, and keep in memory what others are told.
//!
//! Other servers say the same of their users: each of the three takes what they send.
//!
//! # What is kept in memory, and what bounds it
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | which members clients were sent | `sent_members` | its share of `caches.memory_budget` | [`v3`]; each node remembers what it sent |
//! | presence | | the users whose clients have asked lately | [`presence::Presences`] |
//! | typing users | | the users who type | [`typing::Typing`] |
//! | the pieces of first answers that clients have not read yet | | the limit of first answers at once | [`v3`] |

mod from_servers;
pub mod presence;
pub mod providers;
pub mod receipts;
pub mod typing;
pub mod v3;
