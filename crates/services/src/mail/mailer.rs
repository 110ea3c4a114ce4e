//! Hands mails to the SMTP server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::time::timeout;

use super::message;
use super::options::{Encryption, MailError, MailOptions};
use super::templates::Words;

/// Connections to the SMTP server at once.
const MAX_CONNECTIONS: u32 = 2;
/// How long a connection is kept for the next mail.
const IDLE: Duration = Duration::from_secs(30);
/// Replies that blame this server's login, not the mail: the operator can mend that, and then the mail goes through.
const LOGIN_REFUSED: [u16; 4] = [530, 534, 535, 538];

/// Why a mail was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct SendError {
    /// Whether it is of no use to try again.
    pub is_permanent: bool,
    /// What went wrong, for the operator.
    pub reason: String,
}

/// Hands mails to the SMTP server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    host: String,
    /// The right-hand side of the mails' own names.
    domain: String,
    timeout: Duration,
}

impl Mailer {
    /// A mailer with these options. It connects when there is something to send.
    ///
    /// # Errors
    /// [`MailError`] if an option cannot be used.
    pub fn new(options: &MailOptions) -> Result<Self, MailError> {
        let from = options.from.parse().map_err(|_| MailError::From(options.from.clone()))?;
        let domain = options.server_name.host().to_owned();
        let encryption = match options.encryption {
            Encryption::StartTls => Tls::Required(tls_parameters(options)?),
            Encryption::Implicit => Tls::Wrapper(tls_parameters(options)?),
            Encryption::None => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&options.host)
            .port(options.port)
            .tls(encryption)
            .hello_name(ClientId::Domain(domain.clone()))
            .timeout(Some(options.timeout))
            .pool_config(PoolConfig::new().max_size(MAX_CONNECTIONS).idle_timeout(IDLE));
        if let Some((user, password)) = &options.credentials {
            transport = transport.credentials(Credentials::new(user.clone(), password.clone()));
        }
        let host = format!("{}:{}", options.host, options.port);
        Ok(Self { transport: transport.build(), from, host, domain, timeout: options.timeout })
    }

    /// Hands over one mail; returns when the server has taken it.
    ///
    /// # Errors
    /// [`SendError`] if it was not taken, or not in time.
    pub async fn send(&self, to: &str, words: &Words) -> Result<(), SendError> {
        let message = message::build(&self.from, to, &self.domain, words)
            .map_err(|reason| SendError { is_permanent: true, reason })?;
        match timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let blames_login = error.status().is_some_and(|code| LOGIN_REFUSED.contains(&code.into()));
                let is_permanent = error.is_permanent() && !blames_login;
                Err(SendError { is_permanent, reason: format!("{}: {error}", self.host) })
            }
            Err(_) => {
                let seconds = self.timeout.as_secs();
                Err(SendError { is_permanent: false, reason: format!("{}: no answer in {seconds} s", self.host) })
            }
        }
    }
}

fn tls_parameters(options: &MailOptions) -> Result<TlsParameters, MailError> {
    let mut builder = TlsParameters::builder(options.host.clone()).dangerous_accept_invalid_certs(!options.verify_tls);
    builder = builder.dangerous_accept_invalid_hostnames(!options.verify_tls);
    for path in &options.trusted_ca {
        builder = builder.add_root_certificate(certificates(path)?);
    }
    builder.build_rustls().map_err(|error| MailError::Tls(error.to_string()))
}

/// The certificates in a PEM file.
fn certificates(path: &Path) -> Result<Certificate, MailError> {
    let unusable = |problem: String| MailError::Certificates { path: path.to_owned(), problem };
    let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
        return Err(unusable("expected a PEM file with certificates".to_owned()));
    }
    Certificate::from_pem(&pem).map_err(|error| unusable(error.to_string()))
}
