//! Rooms that are shared with other servers: what they send to this one, and what is sent to them.
//!
//! [`requests`] are the requests to other servers about rooms, each with its types and its limits. With them [`memberships`] lets users of
//! this server into rooms of others, and out of them; [`resident`] does for others what they need to get into rooms that this server
//! is in. [`outbox`] sends others what happens in rooms. [`receiving`] takes in what other servers send of rooms, and fetches what is
//! missing of it; [`backfill`] fetches the past for clients that read back that far. [`hierarchy`] shows spaces with their rooms, wherever
//! these are.

pub mod backfill;
pub mod edus;
pub mod hierarchy;
pub mod memberships;
pub mod outbox;
pub mod receiving;
pub mod requests;
pub mod resident;

mod event_keys;
mod handshake_error;
mod room_locks;

pub use self::handshake_error::HandshakeError;

#[cfg(test)]
extern crate self as replication;
#[cfg(test)]
mod fuzz_seeds;
