//! The admin API over HTTP, on both databases.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod background_jobs;
mod register;
