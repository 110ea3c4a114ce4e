//! Hands mails to the SMTP server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::time::timeout;

use super::helo;
use super::message;
use super::options::{Encryption, MailError, MailOptions};
use super::templates::Words;

/// Connections to the SMTP server at once.
const MAX_CONNECTIONS: u32 = 2;
/// How long a connection is kept for the next mail.
const IDLE: Duration = Duration::from_secs(30);
/// Replies that blame this server's login, or a command that the other one does not know, and not the mail: the operator can mend
/// that, and then the mail goes through.
const NOT_THE_MAIL: [u16; 6] = [500, 502, 530, 534, 535, 538];
/// Replies to `EHLO` of a server that does not know it.
const NO_EHLO: [u16; 5] = [500, 501, 502, 504, 550];

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
    /// Where there is neither encryption nor a login, so that `HELO` does as well as `EHLO`.
    plain: Option<(String, u16)>,
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
        let is_plain = options.encryption == Encryption::None && options.credentials.is_none();
        let plain = is_plain.then(|| (options.host.clone(), options.port));
        Ok(Self { transport: transport.build(), from, host, plain, domain, timeout: options.timeout })
    }

    /// Hands over one mail; returns when the server has taken it.
    ///
    /// # Errors
    /// [`SendError`] if it was not taken, or not in time.
    pub async fn send(&self, to: &str, words: &Words) -> Result<(), SendError> {
        let message = message::build(&self.from, to, &self.domain, words)
            .map_err(|reason| SendError { is_permanent: true, reason })?;
        let error = match timeout(self.timeout, self.transport.send(message.clone())).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(self.no_answer()),
        };
        let code = error.status().map(u16::from);
        match &self.plain {
            // Whatever it refused: it has not taken the mail.
            Some(place) if code.is_some_and(|code| NO_EHLO.contains(&code)) => self.send_plainly(place, &message).await,
            _ => Err(self.refusal(code, &error)),
        }
    }

    async fn send_plainly(&self, (host, port): &(String, u16), message: &Message) -> Result<(), SendError> {
        let (envelope, mail) = (message.envelope(), message.formatted());
        let addresses = (envelope.from(), envelope.to());
        match timeout(self.timeout, helo::send((host, *port), &self.domain, addresses, &mail)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.refusal(error.code(), &error)),
            Err(_) => Err(self.no_answer()),
        }
    }

    fn refusal(&self, code: Option<u16>, error: &dyn std::error::Error) -> SendError {
        let is_permanent = code.is_some_and(|code| (500..600).contains(&code) && !NOT_THE_MAIL.contains(&code));
        SendError { is_permanent, reason: format!("{}: {error}", self.host) }
    }

    fn no_answer(&self) -> SendError {
        let seconds = self.timeout.as_secs();
        SendError { is_permanent: false, reason: format!("{}: no answer in {seconds} s", self.host) }
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
