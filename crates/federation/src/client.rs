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
use room_engine::EventError;
use ruma::signatures::Ed25519KeyPair;
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use tasks::limits::{Busy, Limit, Permit};
use tracing::Instrument as _;

use crate::credentials::SignedRequest;
use crate::discovery::Discovery;
use crate::transport::{Connector, Dialler, KEPT_FOR, cause, connector, read_body};

/// What this program calls itself.
pub(crate) const AGENT: &str = concat!("synapse-rust/", env!("CARGO_PKG_VERSION"));
/// From the place among those that run to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections to one server.
const MAX_IDLE: usize = 4;
/// The longest body of an error that is read.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// What another server says about an error is shown to users: not more of it than they read.
const MAX_SENTENCE_CHARS: usize = 300;

/// Why another server has not answered what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The configuration says so.
    #[error("This server does not talk to others: federation is turned off")]
    Disabled,
    /// A request to itself.
    #[error("This server does not ask itself")]
    Itself,
    /// Too many requests run already.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The request is longer than what is signed.
    #[error("The request to {server} cannot be signed: {error}")]
    Unsigned {
        /// The other server.
        server: OwnedServerName,
        /// Why.
        error: EventError,
    },
    /// It was not found, did not let itself be connected to, or did not finish its answer.
    #[error("{server} cannot be reached: {reason}")]
    Unreachable {
        /// The other server.
        server: OwnedServerName,
        /// What happened.
        reason: String,
    },
    /// It took too long.
    #[error("{server} has not answered in time")]
    TimedOut {
        /// The other server.
        server: OwnedServerName,
    },
    /// It answered with an error.
    #[error("{server} refuses: {sentence}")]
    Refused {
        /// The other server.
        server: OwnedServerName,
        /// The status of its answer.
        status: StatusCode,
        /// The code of the error, if there is one.
        errcode: Option<String>,
        /// What it says.
        sentence: String,
    },
    /// It answered with what nobody understands.
    #[error("{server} answers with something else than what it was asked for: {reason}")]
    BadAnswer {
        /// The other server.
        server: OwnedServerName,
        /// What is wrong with it.
        reason: String,
    },
}

impl RequestError {
    /// An answer that nobody understands, for that reason.
    #[must_use]
    pub fn bad_answer(server: &ServerName, reason: &str) -> Self {
        Self::BadAnswer { server: server.to_owned(), reason: excerpt(reason) }
    }

    /// Whether the other server says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }

    /// Whether the other server does not know the path: it says so, or what refuses is something else in front of it.
    #[must_use]
    pub fn is_unrecognized(&self) -> bool {
        match self {
            Self::Refused { status, errcode: None, .. } => status.is_client_error(),
            error => error.has_code("M_UNRECOGNIZED"),
        }
    }

    /// Whether the other server says, with this code, that it refuses.
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        matches!(self, Self::Refused { errcode: Some(errcode), .. } if errcode == code)
    }
}

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
    _permit: Permit,
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
    /// [`RequestError`] if the body breaks off, or nothing comes for long.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, RequestError> {
        let Self { server, body, .. } = self;
        loop {
            let frame = tokio::time::timeout(TIMEOUT, body.frame()).await;
            let frame = frame.map_err(|_| RequestError::TimedOut { server: server.clone() })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| RequestError::bad_answer(server, &cause(&error)))?;
            // What is no data are trailers.
            if let Ok(bytes) = frame.into_data() {
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
        Ok(OpenAnswer { server: server.to_owned(), headers: parts.headers, body, _permit: permit })
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
            Err(_) => (Outcome::TimedOut, Err(RequestError::TimedOut { server: server.to_owned() })),
        };
        self.options.observer.ended(outcome, started.elapsed());
        if let Err(error) = &answer {
            tracing::debug!(%server, uri, %error, "a request to another server failed");
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

fn refused(server: &ServerName, status: StatusCode, body: Option<Bytes>) -> RequestError {
    #[derive(Default, Deserialize)]
    struct Body {
        errcode: Option<String>,
        error: Option<String>,
    }
    let body: Body = body.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
    let sentence = body.error.unwrap_or_else(|| format!("status {}", status.as_u16()));
    RequestError::Refused { server: server.to_owned(), status, errcode: body.errcode, sentence: excerpt(&sentence) }
}

/// As much of what another server says, or of what is said about it, as people read. Some errors quote the whole of what is wrong.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_SENTENCE_CHARS).collect()
}
