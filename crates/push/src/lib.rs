//! Unread events: notifications and highlights by push rules.
//!
//! The `push-rules` crate evaluates push rules, without input or output. [`unread::Audiences`] keeps the members of active rooms
//! with their rules in memory, and evaluates each event before it is written; `rooms` calls it for every event. Begin reading
//! there.
//!
//! # What is kept in memory, and what bounds it
//!
//! Both share the budget `caches.memory_budget` with [all other caches](homeserver_core::MemoryBudget), and are read again
//! from the database after they were dropped.
//!
//! | kept | in the metrics | kept up to date by |
//! |---|---|---|
//! | the members of rooms with accounts here, and their rules | `audiences` | the log |
//! | compiled push rules | `push_rules` | never changes |

pub mod unread;
