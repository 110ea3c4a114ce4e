mod error;
mod observer;
mod open_answer;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use homeserver_core::Timestamp;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use room_engine::CanonicalObject;
use ruma::signatures::Ed25519KeyPair;
use ruma::{OwnedServerName, ServerName};
use tasks::limits::{Limit, Permit};
use tracing::Instrument as _;

pub use self::error::RequestError;
pub(crate) use self::error::excerpt;
use self::error::refused;
pub use self::observer::{ClientObserver, Outcome, Unobserved};
pub use self::open_answer::OpenAnswer;
use self::open_answer::Progress;
use crate::discovery::Discovery;
use crate::reachability::{Reachability, Urgency};
use crate::signed_request::{self, SignedRequest};
use crate::transport::{Connector, Dialler, KEPT_FOR, cause, connector, read_body};

/// What this program calls itself.
pub(crate) const AGENT: &str = concat!("synapse-rust/", env!("CARGO_PKG_VERSION"));
/// From the place among those that run to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections to one server.
const MAX_IDLE: usize = 4;
/// The longest body that is sent: 50 PDUs and 100 EDUs of 64 KiB each.
pub const MAX_SENT_BYTES: usize = 10 << 20;
/// The error that a server was not reached comes after a multiple of this, so that its time tells as little as its text.
const ERROR_STEP: Duration = Duration::from_secs(1);
/// The longest body of an error that is read.
const MAX_ERROR_BYTES: usize = 64 << 10;

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
    /// Which servers are left alone.
    pub reachability: Arc<Reachability>,
}

/// Asks other servers.
pub struct Client {
    options: ClientOptions,
    discovery: Arc<Discovery>,
    http: legacy::Client<Connector, Full<Bytes>>,
}

/// Whether the other server learns for certain who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signing {
    /// As this server.
    Signed,
    /// As anybody: for the keys, without which nobody could check who asks, and for what is open to all.
    Plain,
}

/// A signed request to another server.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// `GET` and so on.
    pub method: Method,
    /// The other server.
    pub server: &'a ServerName,
    /// Path and query.
    pub uri: &'a str,
    /// A JSON object. Its canonical form is what is signed and sent.
    pub body: Option<Bytes>,
    /// The longest answer that is read.
    pub limit_bytes: usize,
    /// From the place among the requests that run to the last byte of the answer, or to the first one of one that is read piece by piece.
    pub timeout: Duration,
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
        let question = Question { signing, ..Question::get(server, uri) };
        self.read(&question, limit_bytes, TIMEOUT).await
    }

    /// Asks as this server; the answer is a JSON text.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn ask(&self, outgoing: &Outgoing<'_>) -> Result<Bytes, RequestError> {
        let question = Question::signed(outgoing)?;
        self.read(&question, outgoing.limit_bytes, outgoing.timeout).await
    }

    /// As [`Client::ask`], for a person who waits: a server that is left alone because it was not reached is tried once in a while.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn insist(&self, outgoing: &Outgoing<'_>) -> Result<Bytes, RequestError> {
        let question = Question { urgency: Urgency::Insistent, ..Question::signed(outgoing)? };
        self.read(&question, outgoing.limit_bytes, outgoing.timeout).await
    }

    /// Asks as this server; the answer is read piece by piece, and [`Outgoing::limit_bytes`] left to the reader.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn open_answer(&self, outgoing: &Outgoing<'_>) -> Result<OpenAnswer, RequestError> {
        self.begin(&Question::signed(outgoing)?, outgoing.timeout).await
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
        let question = Question { signing, accept: "*/*", ..Question::get(server, uri) };
        self.begin(&question, TIMEOUT + wait).await
    }

    async fn read(
        &self,
        question: &Question<'_>,
        limit_bytes: usize,
        timeout: Duration,
    ) -> Result<Bytes, RequestError> {
        let server = question.server;
        let _permit = self.enter(server).await?;
        let bad = |reason: String| RequestError::bad_answer(server, &reason);
        let read = async |answer: Response<Incoming>| read_body(answer.into_body(), limit_bytes).await.map_err(bad);
        self.request(question, timeout, read).await
    }

    async fn begin(&self, question: &Question<'_>, timeout: Duration) -> Result<OpenAnswer, RequestError> {
        let permit = self.enter(question.server).await?;
        let answer = self.request(question, timeout, async |answer| Ok(answer)).await?;
        let (parts, body) = answer.into_parts();
        let (server, progress) = (question.server.to_owned(), Progress::default());
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
        let Question { server, uri, urgency, .. } = *question;
        if !self.options.reachability.may_ask(server, urgency).await {
            let reason = "it has not been reached lately".to_owned();
            // As if it had been asked: the time of the error does not tell that somebody else asked before.
            tokio::time::sleep(until_told(Duration::ZERO)).await;
            return Err(RequestError::Unreachable { server: server.to_owned(), reason });
        }
        let began = self.options.reachability.now();
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
        self.note(server, outcome, &answer, began).await;
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

    /// Notes whether a server was reached by a request that began at `began`.
    async fn note<T>(&self, server: &ServerName, outcome: Outcome, answer: &Result<T, RequestError>, began: Timestamp) {
        let reachability = &self.options.reachability;
        match (outcome, answer) {
            // A proxy gives these answers when the server behind it does not answer.
            (
                Outcome::Answered(
                    StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT,
                ),
                _,
            )
            | (_, Err(RequestError::Unreachable { .. })) => reachability.missed(server, began).await,
            (Outcome::Answered(_), _) => reachability.reached(server).await,
            // It was not asked.
            (Outcome::Failed | Outcome::TimedOut, _) => {}
        }
    }

    /// The status, and what was read or the error that the answer is.
    async fn send<T>(
        &self,
        question: &Question<'_>,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, RequestError>,
    ) -> Result<(StatusCode, Result<T, RequestError>), RequestError> {
        let Question { server, uri, signing, accept, .. } = *question;
        let unreachable = |reason: String| RequestError::Unreachable { server: server.to_owned(), reason };
        let destination = self.discovery.find(server).await;
        let body = question.body.as_ref().map(CanonicalObject::to_bytes);
        let mut request = Request::builder()
            .method(&question.method)
            .uri(format!("https://{server}{uri}"))
            .header(HOST, &*destination.host_header)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, accept)
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| unreachable(error.to_string()))?;
        if question.body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if signing == Signing::Signed {
            let value = self.authorization(question)?;
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

    fn authorization(&self, question: &Question<'_>) -> Result<HeaderValue, RequestError> {
        let ClientOptions { server_name, key_pair, .. } = &self.options;
        let Question { server, uri, .. } = *question;
        let (content, method) = (question.body.as_ref(), question.method.as_str());
        let request = SignedRequest { content, destination: server, method, origin: server_name, uri };
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
struct Question<'a> {
    method: Method,
    server: &'a ServerName,
    uri: &'a str,
    body: Option<CanonicalObject>,
    signing: Signing,
    accept: &'static str,
    urgency: Urgency,
}

impl<'a> Question<'a> {
    fn get(server: &'a ServerName, uri: &'a str) -> Self {
        let (method, signing) = (Method::GET, Signing::Signed);
        let (accept, urgency) = ("application/json", Urgency::Patient);
        Self { method, server, uri, body: None, signing, accept, urgency }
    }

    fn signed(outgoing: &Outgoing<'a>) -> Result<Self, RequestError> {
        let Outgoing { server, uri, .. } = *outgoing;
        let body = outgoing.body.as_ref().map(|json| signed_request::body(json, MAX_SENT_BYTES)).transpose();
        let body = body.map_err(|error| RequestError::Unsigned { server: server.to_owned(), error })?;
        Ok(Self { method: outgoing.method.clone(), body: body.flatten(), ..Self::get(server, uri) })
    }
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
}
