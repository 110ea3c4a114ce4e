//! Writes that share a transaction, on both engines: one that fails costs no other, and frequent ones are written together.

#![expect(clippy::unwrap_used, reason = "the exception for tests does not reach the functions that tests share")]

mod conflicts;
mod failures;
mod frequent;
mod settling;
mod world;
