//! What it costs to evaluate an event: for all members of a room in one pass, and for one user.
//!
//! The baseline is ruma's `Ruleset`, in two ways: as its interface has it, which reads the event for every user
//! (`get_match`), and with the event read once (`applies`, rule by rule).
//!
//! The figures that are printed in front of the times are counts, and the same in every run.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has to stop")]

mod audience;
mod one_user;
mod rules;
mod theirs;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, audience::bench, one_user::bench, one_user::early_exit);
criterion_main!(benches);
