//! What sending mail depends on.

use std::path::PathBuf;
use std::time::Duration;

use ruma::OwnedServerName;

/// How mail is handed over.
#[derive(Clone, Debug)]
pub struct MailOptions {
    /// The host name of the SMTP server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub encryption: Encryption,
    /// User and password to log in with.
    pub credentials: Option<(String, String)>,
    /// Who mails are from, as in the header: `Example <matrix@example.org>`.
    pub from: String,
    /// The name of this server, which is part of the mails' own names.
    pub server_name: OwnedServerName,
    /// PEM files of authorities to trust besides those of the system.
    pub trusted_ca: Vec<PathBuf>,
    /// Whether the certificate of the SMTP server is checked.
    pub verify_tls: bool,
    /// How long handing over one mail may take, from looking up the host to the server's last word.
    pub timeout: Duration,
}

/// How the connection to the SMTP server is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encryption {
    /// It begins in clear, and nothing is sent unless the server then encrypts it.
    StartTls,
    /// From the first byte.
    Implicit,
    /// Not at all.
    None,
}

/// Why mail cannot be sent as the configuration asks for. Names the key.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The sender is no address.
    #[error("email.from: expected an address such as \"Example <matrix@example.org>\", not {0:?}")]
    From(String),
    /// A file of certificates cannot be used.
    #[error("network.trusted_ca: {}: {problem}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The connection's encryption cannot be set up.
    #[error("email.smtp_host: {0}")]
    Tls(String),
    /// A template cannot be read or used.
    #[error("email.templates_dir: {0}")]
    Template(String),
}
