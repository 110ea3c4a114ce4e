//! A Matrix homeserver as one program, and as a library for tests.
//!
//! * [`commands`] is the command line.
//! * [`start`] brings up a server in the current runtime and returns it as a [`RunningServer`]; two of them can run in
//!   one process.
//! * `compose` makes every component and gives it what it needs, one file for each domain.
//! * `listen` accepts connections and hands their requests to the routers.

mod backup;
pub mod commands;
mod compose;
mod data_dir;
mod error;
mod identity;
mod listen;
mod nodes;
mod running;
mod runtime;
mod signing_key;
mod start;
mod starting;
mod supervisor;

pub use error::StartError;
pub use listen::InheritedSockets;
pub use running::{Bound, RunningServer};
pub use start::{StartOptions, start, start_with};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
