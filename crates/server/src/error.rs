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
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: config::Bind,
        /// What the system says.
        error: io::Error,
    },
    /// The database cannot be opened.
    #[error("the database {url}: {error}")]
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
    Passwords(#[from] services::passwords::PasswordError),
    /// Mail cannot be sent as the configuration asks for.
    #[error(transparent)]
    Mail(#[from] services::mail::MailError),
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
