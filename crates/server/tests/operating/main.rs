//! The server as its operators meet it: started and watched by a service manager, backed up and restored, and in trouble.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod backup;
mod clock;
mod database_restart;
mod descriptors;
mod disk_full;
mod identity;
mod launched;
mod load;
mod packaging;
mod second_server;
mod sockets;
mod supervision;
mod users;

use std::time::Duration;

/// How long anything may take that happens soon.
const PATIENCE: Duration = Duration::from_secs(30);

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse-rust");
