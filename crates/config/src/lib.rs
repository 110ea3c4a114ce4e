//! The configuration of a homeserver: typed sections, the sources of their values, and errors about them.
//!
//! A value comes from the first of these that has it:
//!
//! 1. `DATABASE_URL`, for `database.url` alone;
//! 2. the environment variable of the key, `SYNAPSE_RUST__SECTION__KEY`;
//! 3. the TOML file;
//! 4. the documented default, so that a server starts with no configuration at all.
//!
//! Every secret `x` can also be given as `x_file`, the path of a file that holds it.
//!
//! ```
//! let loaded = config::load(None, [("SYNAPSE_RUST__SERVER__NAME", "example.org")])?;
//! assert_eq!(loaded.config.server.name, "example.org");
//!
//! let error = config::load(None, [("SYNAPSE_RUST__SERVER__NMAE", "example.org")]).unwrap_err();
//! assert!(error.to_string().starts_with("SYNAPSE_RUST__SERVER__NMAE: server.nmae: unknown key"));
//! # Ok::<(), config::Error>(())
//! ```

mod check;
mod environment;
mod error;
mod generate;
mod load;
mod reload;
mod schema;
mod secret_files;
mod sections;
mod show;
mod sources;
mod values;

pub use error::Error;
pub use generate::generate;
pub use load::{Loaded, load};
pub use reload::Changes;
pub use schema::schema;
pub use sections::{
    Appservices, Caches, ClientTraces, Config, Database, Email, Federation, FederationRate, InviteRates, Jobs,
    JoinRates, Limit, LimitSize, LimitSizes, Limits, Listener, LogFormat, LoginRates, MailTls, Media, Network,
    Passwords, Pool, Presence, Rate, RateLimits, Registration, Resource, Rooms, Server, Support, SupportContact,
    Synchronous, Telemetry, Tls, Turn,
};
pub use sources::Sources;
pub use values::{
    AddressRange, Bind, ByteSize, DatabaseEngine, DatabaseUrl, Period, Schedule, Secret, Share, SocketMode, WebUrl,
};
