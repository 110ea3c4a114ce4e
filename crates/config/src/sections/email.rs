use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Period, Secret, WebUrl};

/// E-mail that the server sends to its users. Without `smtp_host` it sends none, and accounts have no e-mail addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Email {
    /// The server that takes mail. Enables e-mail; needs `from` and `server.public_base_url`.
    #[schemars(example = "smtp.example.org")]
    pub smtp_host: Option<String>,
    /// Its port; by default 587 with `start_tls`, 465 with `implicit`, 25 with `none`.
    #[schemars(example = 587)]
    pub smtp_port: Option<u16>,
    /// How the connection is encrypted: "start_tls" begins in clear and refuses servers that do not encrypt; "implicit" is TLS
    /// from the first byte; "none" is for a relay on this machine or in a closed network.
    pub tls: MailTls,
    /// The user to log in as; without one there is no login.
    #[schemars(example = "matrix@example.org")]
    pub username: Option<String>,
    /// The password of that user.
    #[schemars(example = "the password")]
    pub password: Option<Secret>,
    /// A file that holds the password, instead of `password`.
    #[schemars(example = "/run/secrets/smtp_password")]
    pub password_file: Option<PathBuf>,
    /// Who mails are from.
    #[schemars(example = "Example Matrix <matrix@example.org>")]
    pub from: Option<String>,
    /// How mails and pages call this service.
    pub app_name: String,
    /// Where the users' client is; mails and pages link to it.
    #[schemars(example = "https://chat.example.org")]
    pub client_base_url: Option<WebUrl>,
    /// Hosts that people may be sent on to (`next_link`) after they confirmed an address, besides that of `client_base_url`.
    pub next_link_hosts: Vec<String>,
    /// Whether a client that asks for a mail is not told if an address has an account. The mail tells its reader instead.
    pub hide_known_addresses: bool,
    /// A folder with templates that replace the built-in ones of the same file names.
    #[schemars(example = "/etc/synapse-rust/templates")]
    pub templates_dir: Option<PathBuf>,
    /// How long handing over one mail may take.
    pub timeout: Period,
}

impl Default for Email {
    fn default() -> Self {
        Self {
            smtp_host: None,
            smtp_port: None,
            tls: MailTls::default(),
            username: None,
            password: None,
            password_file: None,
            from: None,
            app_name: "Matrix".to_owned(),
            client_base_url: None,
            next_link_hosts: Vec::new(),
            hide_known_addresses: true,
            templates_dir: None,
            timeout: Period::from_secs(30),
        }
    }
}

/// How the connection to the mail server is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the key's own text says what they mean")]
pub enum MailTls {
    #[default]
    StartTls,
    Implicit,
    None,
}

impl MailTls {
    /// The port where servers usually expect this.
    #[must_use]
    pub fn usual_port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}
