//! Hostile and wrong input, on every endpoint: always a Matrix error, never a 500, a hang, or a lost write.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly in the functions around it too"
)]

mod bodies;
mod connections;
mod cors;
mod database_gone;
mod endpoints;
mod events;
mod findings;
mod methods;
mod parameters;
mod raw;
mod relay;
mod world;
