//! Connections to other machines.

mod address;
mod dialler;
mod stream;
mod tls;
mod web;

pub use self::dialler::Dialler;
pub use self::tls::{TlsError, tls_config};
pub use self::web::Web;

pub(crate) use self::dialler::{Connector, connector};
pub(crate) use self::web::{cause, read_body};

/// How long a connection that nobody uses is kept.
pub(crate) const KEPT_FOR: std::time::Duration = std::time::Duration::from_secs(60);
