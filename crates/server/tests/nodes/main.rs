//! Several servers on one PostgreSQL: for clients they are one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod agreement;
mod conversation;
mod encryption;
mod failures;
mod jobs;
mod limits;
mod media;
mod restarting;
mod rooms;
mod sessions;
mod world;
