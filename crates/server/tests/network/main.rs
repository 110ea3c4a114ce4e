//! Several homeservers that share rooms, on both databases.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod ephemeral;
mod faults;
mod finding;
mod history;
mod inviting;
mod inviting_addresses;
mod joining;
mod knocking;
mod leaving;
mod partial;
mod restricted;
mod spaces;
mod world;
