mod error;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderMap, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ruma::signatures::Ed25519KeyPair;
use ruma::{OwnedServerName, ServerName};
use tasks::limits::{Limit, Permit};
use tracing::Instrument as _;

pub use self::error::RequestError;
pub(crate) use self::error::excerpt;
use self::error::refused;
use crate::credentials::SignedRequest;
use crate::discovery::Discovery;
use crate::transport::{Connector, Dialler, KEPT_FOR, cause, connector, read_body};

/// What this program calls itself.
pub(crate) const AGENT: &str = concat!("synapse-rust/", env!("CARGO_PKG_VERSION"));
/// From the place among those that run to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections to one server.
const MAX_IDLE: usize = 4;
/// An answer that is read piece by piece may be waited for this long in all, and for each of so many bytes a second longer.
const GRACE: Duration = Duration::from_secs(20);
const SLOWEST_BYTES_PER_SECOND: u64 = 32 << 10;
/// But not longer than this.
const LONGEST: Duration = Duration::from_mins(30);
/// The error that a server was not reached comes after a multiple of this, so that its time tells as little as its text.
const ERROR_STEP: Duration = Duration::from_secs(1);
/// The longest body of an error that is read.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// How a request ended, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With an answer of this status.
    Answered(StatusCode),
    /// Without one.
    Failed,
    /// Not in time.
    TimedOut,
}

/// Learns of requests to other servers.
pub trait ClientObserver: Send + Sync {
    /// A request is about to be sent; its trace may be told in the headers.
    fn sending(&self, headers: &mut HeaderMap);

    /// A request has ended.
    fn ended(&self, outcome: Outcome, took: Duration);
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl ClientObserver for Unobserved {
    fn sending(&self, _: &mut HeaderMap) {}

    fn ended(&self, _: Outcome, _: Duration) {}
}

/// What a [`Client`] is made of.
pub struct ClientOptions {
    /// Whether this server talks to others at all.
    pub is_enabled: bool,
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// What its requests are signed with.
    pub key_pair: Arc<Ed25519KeyPair>,
    /// How many requests run at once.
    pub limit: Arc<Limit>,
    /// Who learns of them.
    pub observer: Arc<dyn ClientObserver>,
}

/// Asks other servers.
pub struct Client {
    options: ClientOptions,
    discovery: Arc<Discovery>,
    http: legacy::Client<Connector, Empty<Bytes>>,
}

/// Whether the other server learns for certain who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signing {
    /// As this server.
    Signed,
    /// As anybody: for the keys, without which nobody could check who asks, and for what is open to all.
    Plain,
}

/// An answer whose body is read piece by piece. It keeps its place among the requests until it is dropped.
pub struct OpenAnswer {
    server: OwnedServerName,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    progress: Progress,
    _permit: Permit,
}

/// How an answer comes along. The time in which nobody reads it does not count.
#[derive(Default)]
struct Progress {
    waited: Duration,
    bytes: u64,
}

impl Progress {
    /// How long the next piece may take.
    fn patience(&self) -> Duration {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / SLOWEST_BYTES_PER_SECOND);
        (GRACE.saturating_add(earned)).min(LONGEST).saturating_sub(self.waited).min(TIMEOUT)
    }
}

impl OpenAnswer {
    /// Who answers.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`RequestError`] if the body breaks off, or comes too slowly.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, RequestError> {
        let Self { server, body, progress, .. } = self;
        loop {
            let began = Instant::now();
            let frame = tokio::time::timeout(progress.patience(), body.frame()).await;
            progress.waited += began.elapsed();
            let frame = frame.map_err(|_| RequestError::TooSlow { server: server.clone() })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| RequestError::bad_answer(server, &cause(&error)))?;
            // What is no data are trailers.
            if let Ok(bytes) = frame.into_data() {
                progress.bytes += bytes.len() as u64;
                return Ok(Some(bytes));
            }
        }
    }
}

impl Client {
    /// A client that finds servers by `discovery` and reaches them by `dialler`.
    #[must_use]
    pub fn new(options: ClientOptions, discovery: Arc<Discovery>, dialler: Dialler) -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT_FOR).pool_max_idle_per_host(MAX_IDLE);
        // The host of a URI is the name of a server.
        let http = builder.build(connector(dialler, {
            let discovery = discovery.clone();
            move |uri: Uri| {
                let discovery = discovery.clone();
                async move {
                    let name = uri.authority().and_then(|name| ServerName::parse(name.as_str()).ok());
                    let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a server name"))?;
                    let destination = discovery.find(&name).await;
                    Ok((destination.targets.clone(), destination.host.clone()))
                }
            }
        }));
        Self { options, discovery, http }
    }

    /// The name of this server.
    #[must_use]
    pub fn server_name(&self) -> &ServerName {
        &self.options.server_name
    }

    /// Gets what is under `uri`, a path with its query: a JSON text of `limit_bytes` at most.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn get(
        &self,
        server: &ServerName,
        uri: &str,
        signing: Signing,
        limit_bytes: usize,
    ) -> Result<Bytes, RequestError> {
        let _permit = self.enter(server).await?;
        let bad = |reason: String| RequestError::bad_answer(server, &reason);
        let read = async |answer: Response<Incoming>| read_body(answer.into_body(), limit_bytes).await.map_err(bad);
        let question = Question { server, uri, signing, accept: "application/json" };
        self.request(&question, TIMEOUT, read).await
    }

    /// Gets what is under `uri`, whatever it is and however long, once the other server has it, for which it may take `wait`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn open(
        &self,
        server: &ServerName,
        uri: &str,
        signing: Signing,
        wait: Duration,
    ) -> Result<OpenAnswer, RequestError> {
        let permit = self.enter(server).await?;
        let question = Question { server, uri, signing, accept: "*/*" };
        let answer = self.request(&question, TIMEOUT + wait, async |answer| Ok(answer)).await?;
        let (parts, body) = answer.into_parts();
        let (server, progress) = (server.to_owned(), Progress::default());
        Ok(OpenAnswer { server, headers: parts.headers, body, progress, _permit: permit })
    }

    /// A place among the requests that run at once.
    async fn enter(&self, server: &ServerName) -> Result<Permit, RequestError> {
        if !self.options.is_enabled {
            return Err(RequestError::Disabled);
        }
        if server == self.options.server_name {
            return Err(RequestError::Itself);
        }
        Ok(self.options.limit.enter().await?)
    }

    /// What `read` makes of the answer, all within that time.
    async fn request<T>(
        &self,
        question: &Question<'_>,
        timeout: Duration,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let Question { server, uri, .. } = *question;
        let span = tracing::info_span!("request to server", otel.kind = "client", %server, uri);
        let started = Instant::now();
        let sent = self.send(question, read).instrument(span);
        let (outcome, answer) = match tokio::time::timeout(timeout, sent).await {
            Ok(Ok((status, answer))) => (Outcome::Answered(status), answer),
            Ok(Err(error)) => (Outcome::Failed, Err(error)),
            Err(_) => {
                let reason = "it has not answered in time".to_owned();
                (Outcome::TimedOut, Err(RequestError::Unreachable { server: server.to_owned(), reason }))
            }
        };
        self.options.observer.ended(outcome, started.elapsed());
        match &answer {
            Err(RequestError::Unreachable { reason, .. }) => {
                tracing::debug!(%server, uri, reason, "another server cannot be reached");
                tokio::time::sleep(until_told(started.elapsed())).await;
            }
            Err(error) => tracing::debug!(%server, uri, %error, "a request to another server failed"),
            Ok(_) => {}
        }
        answer
    }

    /// The status, and what was read or the error that the answer is.
    async fn send<T>(
        &self,
        question: &Question<'_>,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, RequestError>,
    ) -> Result<(StatusCode, Result<T, RequestError>), RequestError> {
        let Question { server, uri, signing, accept } = *question;
        let unreachable = |reason: String| RequestError::Unreachable { server: server.to_owned(), reason };
        let destination = self.discovery.find(server).await;
        let mut request = Request::get(format!("https://{server}{uri}"))
            .header(HOST, &*destination.host_header)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, accept)
            .body(Empty::new())
            .map_err(|error| unreachable(error.to_string()))?;
        if signing == Signing::Signed {
            let value = self.authorization(server, uri)?;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.options.observer.sending(request.headers_mut());
        let answer = self.http.request(request).await.map_err(|error| unreachable(cause(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok((status, read(answer).await));
        }
        let body = read_body(answer.into_body(), MAX_ERROR_BYTES).await;
        Ok((status, Err(refused(server, status, body.ok()))))
    }

    fn authorization(&self, server: &ServerName, uri: &str) -> Result<HeaderValue, RequestError> {
        let ClientOptions { server_name, key_pair, .. } = &self.options;
        let request = SignedRequest { destination: server, method: "GET", origin: server_name, uri };
        let unsigned = |error| RequestError::Unsigned { server: server.to_owned(), error };
        let header = request.sign(key_pair).map_err(unsigned)?.to_header();
        // Names and Base64 are always fit for a header.
        HeaderValue::try_from(header).map_err(|_| RequestError::BadAnswer {
            server: server.to_owned(),
            reason: "its name does not fit into a header".to_owned(),
        })
    }
}

/// What another server is asked.
#[derive(Clone, Copy)]
struct Question<'a> {
    server: &'a ServerName,
    uri: &'a str,
    signing: Signing,
    accept: &'static str,
}

/// How long an error still waits that came after this time.
fn until_told(elapsed: Duration) -> Duration {
    let steps = elapsed.as_nanos().div_ceil(ERROR_STEP.as_nanos()).max(1);
    ERROR_STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX)).saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_error_took_it_is_told_after_whole_seconds() {
        for (took_ms, told_after_ms) in
            [(0, 1000), (1, 1000), (999, 1000), (1000, 1000), (1001, 2000), (29_500, 30_000)]
        {
            let took = Duration::from_millis(took_ms);
            assert_eq!((took + until_told(took)).as_millis(), told_after_ms, "{took_ms}");
        }
    }

    #[test]
    fn an_answer_that_comes_along_is_waited_for_and_one_that_drips_is_not() {
        let patience = |waited_s: u64, bytes| Progress { waited: Duration::from_secs(waited_s), bytes }.patience();
        assert_eq!(patience(0, 0), GRACE);
        assert_eq!(patience(15, 100).as_secs(), 5);
        assert_eq!(patience(20, 60), Duration::from_millis(1));
        assert_eq!(patience(21, 60), Duration::ZERO);
        assert_eq!(patience(60, 100 * SLOWEST_BYTES_PER_SECOND), TIMEOUT);
        assert_eq!(patience(1795, u64::MAX).as_secs(), 5);
        assert_eq!(patience(1800, u64::MAX), Duration::ZERO);
    }
}
