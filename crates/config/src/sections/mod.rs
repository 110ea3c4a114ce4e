//! One file per section. The doc comment of a section or key is also its text in `config generate` and
//! `config schema`; a key without a default carries an example for the same purpose.

mod appservices;
mod caches;
mod database;
mod email;
mod federation;
mod federation_rate;
mod jobs;
mod limits;
mod listeners;
mod media;
mod network;
mod passwords;
mod presence;
mod rate_limits;
mod registration;
mod rooms;
mod server;
mod support;
mod telemetry;
mod turn;

use std::path::PathBuf;

pub use appservices::Appservices;
pub use caches::Caches;
pub use database::{Database, Pool, Synchronous};
pub use email::{Email, MailTls};
pub use federation::Federation;
pub use federation_rate::FederationRate;
pub use jobs::Jobs;
pub use limits::{Limit, LimitSize, LimitSizes, Limits};
pub use listeners::{Listener, Resource, Tls};
pub use media::Media;
pub use network::Network;
pub use passwords::Passwords;
pub use presence::Presence;
pub use rate_limits::{InviteRates, JoinRates, LoginRates, Rate, RateLimits};
pub use registration::Registration;
pub use rooms::Rooms;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use server::Server;
pub use support::{Support, SupportContact};
pub use telemetry::{ClientTraces, LogFormat, Telemetry};
pub use turn::Turn;

use crate::values::DatabaseUrl;

/// Configuration of synapse-rust. Every key can also be set by an environment variable, SYNAPSE_RUST__SECTION__KEY.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "a comment here would hide the section's own in what is generated from it")]
pub struct Config {
    pub server: Server,
    /// Where the server listens: at least one entry.
    pub listeners: Vec<Listener>,
    pub database: Database,
    pub registration: Registration,
    pub passwords: Passwords,
    pub rooms: Rooms,
    pub presence: Presence,
    pub network: Network,
    pub federation: Federation,
    pub rate_limits: RateLimits,
    pub limits: Limits,
    pub caches: Caches,
    pub media: Media,
    pub appservices: Appservices,
    pub email: Email,
    pub turn: Turn,
    pub support: Support,
    pub jobs: Jobs,
    pub telemetry: Telemetry,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            listeners: vec![Listener::default()],
            database: Database::default(),
            registration: Registration::default(),
            passwords: Passwords::default(),
            rooms: Rooms::default(),
            presence: Presence::default(),
            network: Network::default(),
            federation: Federation::default(),
            rate_limits: RateLimits::default(),
            limits: Limits::default(),
            caches: Caches::default(),
            media: Media::default(),
            appservices: Appservices::default(),
            email: Email::default(),
            turn: Turn::default(),
            support: Support::default(),
            jobs: Jobs::default(),
            telemetry: Telemetry::default(),
        }
    }
}

/// Values that follow others when they are not set.
impl Config {
    /// `database.url`, by default a SQLite file in `server.data_dir`.
    pub fn database_url(&self) -> DatabaseUrl {
        let beside = || DatabaseUrl::of_sqlite_file(&self.server.data_dir.join("homeserver.db"));
        self.database.url.clone().unwrap_or_else(beside)
    }

    /// `media.path`, by default `media` in `server.data_dir`.
    pub fn media_path(&self) -> PathBuf {
        self.media.path.clone().unwrap_or_else(|| self.server.data_dir.join("media"))
    }

    /// `server.signing_key_path`, by default `signing.key` in `server.data_dir`.
    pub fn signing_key_path(&self) -> PathBuf {
        self.server.signing_key_path.clone().unwrap_or_else(|| self.server.data_dir.join("signing.key"))
    }

    /// The database pool's options; the numbers of connections follow the engine where they are not set.
    pub fn pool(&self) -> Pool {
        Pool::new(&self.database, self.database_url().engine())
    }
}
