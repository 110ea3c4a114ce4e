//! The job queue on both databases, with several nodes and a clock that the tests move.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly in the functions around it too")]

mod ending;
mod nodes;
mod scheduling;
mod world;
