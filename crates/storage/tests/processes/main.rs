//! Several processes on one database.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly in the functions around it too")]

mod following;
mod gaps;
mod holding;
mod leases;
mod lost_connections;
mod world;
