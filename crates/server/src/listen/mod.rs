//! Accepting connections, within limits, and serving HTTP/1.1 and HTTP/2 on them.

mod accept;
mod connection;
mod inherited;
mod protocol;
mod socket;
mod socket_file;
mod tls;

pub(crate) use accept::{Accepting, Listening};
pub use inherited::InheritedSockets;
pub(crate) use socket::ListenAddress;
pub(crate) use tls::Certificate;

#[cfg(test)]
mod tests;
