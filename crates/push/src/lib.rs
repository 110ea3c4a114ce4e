//! What events are to those who have not read them.
//!
//! The `push-rules` crate decides, without input or output, which events notify whom. [`unread::Audiences`] keeps the members of
//! active rooms with their rules, and evaluates each event before it is written; `rooms` calls it for every event. Begin reading
//! there.
//!
//! # What is kept in memory, and what bounds it
//!
//! All of it shares the budget `caches.memory_budget` with [all other caches](homeserver_core::MemoryBudget), and is read again
//! from the database when it was dropped.
//!
//! | kept | in the metrics | kept up to date by |
//! |---|---|---|
//! | the members of rooms with accounts here, and their rules | `audiences` | the log |
//! | compiled push rules | `push_rules` | never changes |

pub mod unread;
