//! A small SMTP server, which records the mails it is given, and can be as unhelpful as real ones.

mod conversation;
mod mail;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub use self::mail::ReceivedMail;
use crate::settings::Setting;
use crate::tls;

/// Longer than the pauses between the first attempts to send a mail.
const MAIL_LIMIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How connections to the server are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmtpTls {
    /// Not at all, and it is not offered.
    None,
    /// It is offered by STARTTLS.
    StartTls,
    /// From the first byte.
    Implicit,
}

/// What the server does with mails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmtpMood {
    /// It takes them.
    Takes,
    /// It refuses every recipient with this reply, such as `451 4.3.0 Try again later`.
    Refuses(&'static str),
    /// It is so old that it knows `HELO` only.
    KnowsNoEhlo,
    /// It accepts connections and says nothing.
    Hangs,
}

/// An SMTP server on a free port of 127.0.0.1. It stops when it is dropped.
pub struct SmtpServer {
    address: SocketAddr,
    tls: SmtpTls,
    folder: TempDir,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

/// What has happened.
struct Seen {
    mood: SmtpMood,
    mails: Vec<ReceivedMail>,
    connections: usize,
    /// What clients said before the connection was encrypted.
    in_clear: Vec<String>,
    refused: usize,
    logins: Vec<String>,
}

impl SmtpServer {
    /// Starts a server.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(tls: SmtpTls) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let acceptor = tls::acceptor("127.0.0.1", &folder.path().join("ca.pem"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(Mutex::new(Seen {
            mood: SmtpMood::Takes,
            mails: Vec::new(),
            connections: 0,
            in_clear: Vec::new(),
            refused: 0,
            logins: Vec::new(),
        }));
        let shared = seen.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().connections += 1;
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                // A client that goes away in the middle is the test's business.
                tokio::spawn(async move { drop(conversation::hold(stream, tls, &acceptor, &shared).await) });
            }
        });
        Self { address, tls, folder, seen, accepting }
    }

    /// The settings with which a homeserver sends its mail here, and trusts the certificate.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting<'static>> {
        let tls = match self.tls {
            SmtpTls::None => "none",
            SmtpTls::StartTls => "start_tls",
            SmtpTls::Implicit => "implicit",
        };
        let certificate = self.certificate().display().to_string();
        vec![
            ("server", "public_base_url", "https://matrix.example.org".into()),
            ("network", "trusted_ca", vec![certificate].into()),
            ("email", "smtp_host", "127.0.0.1".into()),
            ("email", "smtp_port", i64::from(self.address.port()).into()),
            ("email", "tls", tls.into()),
            ("email", "from", "Example <matrix@example.org>".into()),
            ("email", "timeout", "2s".into()),
        ]
    }

    /// The PEM file of the server's certificate, which is its own authority.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Changes what the server does from now on.
    pub fn set_mood(&self, mood: SmtpMood) {
        self.seen.lock().mood = mood;
    }

    /// The mails that were taken.
    #[must_use]
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.seen.lock().mails.clone()
    }

    /// Waits until there are `count` mails to the address, and returns the last of them.
    ///
    /// # Panics
    /// When they do not come in time.
    pub async fn mail_to(&self, address: &str, count: usize) -> ReceivedMail {
        self.wait_until(&format!("{count} mails to {address}"), |server| {
            let mails = server.mails();
            let mut to = mails.into_iter().filter(|mail| mail.to == address);
            to.nth(count - 1)
        })
        .await
    }

    /// Waits until clients have connected `count` times.
    ///
    /// # Panics
    /// When they do not in time.
    pub async fn connections(&self, count: usize) {
        let enough = |server: &Self| (server.seen.lock().connections >= count).then_some(());
        self.wait_until(&format!("{count} connections"), enough).await;
    }

    /// Waits until `count` recipients were refused.
    ///
    /// # Panics
    /// When they are not in time.
    pub async fn refusals(&self, count: usize) {
        let enough = |server: &Self| (server.seen.lock().refused >= count).then_some(());
        self.wait_until(&format!("{count} refused recipients"), enough).await;
    }

    /// How many recipients were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.seen.lock().refused
    }

    /// What clients said while anybody could listen.
    #[must_use]
    pub fn said_in_clear(&self) -> Vec<String> {
        self.seen.lock().in_clear.clone()
    }

    /// The arguments of `AUTH` that clients have sent.
    #[must_use]
    pub fn logins(&self) -> Vec<String> {
        self.seen.lock().logins.clone()
    }

    async fn wait_until<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + MAIL_LIMIT;
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "{what} did not come in time; there are {:#?}", self.mails());
            sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
