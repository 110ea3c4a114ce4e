//! The harness of the integration tests: databases that last as long as a test, servers on them, and clients.
//!
//! A test is written once and runs on both databases:
//!
//! ```no_run
//! use testing::{ServerProcess, on_both_databases};
//!
//! on_both_databases! {
//!     /// The doc comment stays with the test.
//!     async fn a_server_names_the_versions_it_speaks(db: TestDatabase) {
//!         let server = ServerProcess::start("target/debug/synapse-rust", &db).await;
//!         let answer = server.client().get("/_matrix/client/versions").await;
//!         assert!(answer.ok()["versions"].is_array());
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! [`ServerProcess`] is the real program, which can be killed; `TestServer`, with the feature `server`, is a server inside the
//! process of the test, which starts sooner.
//!
//! The tests on PostgreSQL need a server, which `cargo xtask test` starts and names.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness fails its test by panicking, and indexing JSON gives null"
)]

mod both_databases;
mod client;
mod database;
mod eventually;
mod follower;
mod postgres_server;
mod remote_server;
mod server_process;
mod settings;
mod smtp;
mod template;
#[cfg(feature = "server")]
mod test_server;
mod tls;
mod user;

pub use client::{Answer, Client, Request, Unanswered, path_segment};
pub use database::TestDatabase;
pub use eventually::eventually;
pub use follower::Follower;
pub use postgres_server::{PostgresServer, StopMode, postgres_program};
pub use remote_server::{ReceivedRequest, RemoteServer};
pub use server_process::ServerProcess;
pub use settings::Setting;
pub use smtp::{ReceivedMail, SmtpMood, SmtpServer, SmtpTls};
#[cfg(feature = "server")]
pub use test_server::TestServer;
pub use tls::TestAuthority;
pub use user::User;
