//! Events of other servers in rooms of this one, on both databases. The other servers are keys that build events.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod consistency;
mod oracle;
mod room;
mod server;

mod concurrency;
mod deep;
mod ends;
mod entering;
mod forks;
mod gaps;
mod heads;
mod histories;
mod linear;
mod malformed;
mod missing;
mod redactions;
mod refused;
mod serving;
mod soft_failure;
mod sync;
