use std::{io, path::PathBuf};

/// Why a server does not start: one sentence for the person who starts it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong, or names something that cannot be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A directory of the server cannot be made.
    #[error("cannot create the directory {}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The signing key cannot be read, made or understood.
    #[error("the signing key {}: {problem}", path.display())]
    SigningKey {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The database belongs to a server of another name.
    #[error(
        "the database belongs to the server {known:?}, and server.name is {configured:?}: set server.name = {known:?}, or give \
         this name a database of its own (a server cannot be renamed: its name is in the IDs of its users and rooms)"
    )]
    OtherName {
        /// The name that it had so far.
        known: String,
        /// The name in the configuration.
        configured: String,
    },
    /// There is no signing key, although there was one.
    #[error(
        "the signing key {} is not there, and this server has signed with it: put it back, for instance from a backup; if it is \
         lost for good, `synapse-rust signing-key rotate` makes another one", path.display()
    )]
    LostKey {
        /// Its file.
        path: PathBuf,
    },
    /// The signing key is another one than before.
    #[error(
        "the signing key {} holds {found}, and the key of this server is {known}: put the former file back, or have the new key \
         sign from now on with `synapse-rust signing-key accept`, which keeps the former one published", path.display()
    )]
    OtherKey {
        /// Its file.
        path: PathBuf,
        /// The key ID in it.
        found: String,
        /// The key ID that this server had so far.
        known: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: config::Bind,
        /// What the system says.
        error: io::Error,
    },
    /// The database cannot be opened.
    #[error("the database {url}: {}", reason(error))]
    Database {
        /// Where it is, without the password.
        url: config::DatabaseUrl,
        /// What went wrong.
        error: storage::StorageError,
    },
    /// The database failed during the start.
    #[error(transparent)]
    Storage(#[from] storage::StorageError),
    /// Passwords cannot be hashed as the configuration asks for.
    #[error(transparent)]
    Passwords(#[from] accounts::passwords::PasswordError),
    /// Mail cannot be sent as the configuration asks for.
    #[error(transparent)]
    Mail(#[from] accounts::mail::MailError),
    /// Connections to other servers cannot be encrypted as the configuration asks for.
    #[error(transparent)]
    Tls(#[from] federation::transport::TlsError),
    /// Metrics cannot be registered.
    #[error(transparent)]
    Metrics(#[from] telemetry::MetricsError),
    /// Logs cannot be written.
    #[error(transparent)]
    Logs(#[from] telemetry::LogsError),
    /// The runtime or its signal handlers cannot be set up.
    #[error("cannot set up the runtime: {0}")]
    Runtime(io::Error),
}

/// What is wrong, without saying again that it is about the database.
fn reason(error: &storage::StorageError) -> String {
    match error {
        storage::StorageError::Unavailable(reason) => reason.clone(),
        error => error.to_string(),
    }
}
