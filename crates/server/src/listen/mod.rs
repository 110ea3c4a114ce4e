//! Accepting connections, within limits, and serving HTTP/1.1 and HTTP/2 on them.

mod accept;
mod connection;
mod protocol;
mod tls;

pub(crate) use accept::{Accepting, Listening};
pub(crate) use tls::Certificate;

#[cfg(test)]
mod tests;
