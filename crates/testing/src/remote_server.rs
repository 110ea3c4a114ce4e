//! Another homeserver, which answers as the test says, and records what it is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use ruma::CanonicalJsonObject;
use ruma::room_version_rules::RoomVersionRules;
use ruma::signatures::{Ed25519KeyPair, hash_and_sign_event, reference_hash, sign_json};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Interval;
use toml::Table;

use crate::settings::Setting;
use crate::tls;

const KEYS: &str = "/_matrix/key/v2/server";
const FAR_FUTURE: i64 = 4_000_000_000_000;

/// A homeserver of another name. It has a certificate and a signing key of its own, and stops when this is dropped.
pub struct RemoteServer {
    name: String,
    address: SocketAddr,
    folder: TempDir,
    key_pair: Ed25519KeyPair,
    shared: Arc<Mutex<Shared>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// By path, without the query.
    answers: HashMap<String, PreparedAnswer>,
    /// Paths without an answer.
    silent: Vec<String>,
    /// Paths whose answers never end.
    dripping: Vec<String>,
    requests: Vec<ReceivedRequest>,
}

impl Shared {
    fn answer_to(&self, path: &str) -> Option<&PreparedAnswer> {
        let below = || self.answers.iter().find(|(prefix, _)| is_under(path, prefix)).map(|(_, answer)| answer);
        self.answers.get(path).or_else(below)
    }
}

/// Whether a path is that one, or begins with it if it ends with `/`.
fn is_under(path: &str, known: &str) -> bool {
    path == known || (known.ends_with('/') && path.starts_with(known))
}

/// What a test has it answer.
#[derive(Clone)]
struct PreparedAnswer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

/// What the server was asked.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// `GET` and so on.
    pub method: Method,
    /// Path and query.
    pub uri: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl ReceivedRequest {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

impl RemoteServer {
    /// Starts a server that publishes its keys, and knows nothing else.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let acceptor = tls::acceptor(name, &folder.path().join("ca.pem"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let document = Ed25519KeyPair::generate();
        let key_pair = Ed25519KeyPair::from_der(&document, "remote".to_owned()).expect("a new key can be read");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let accepting = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, shared) = (acceptor.clone(), shared.clone());
                    tokio::spawn(async move {
                        // A client that does not trust the certificate is the test's business.
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let answer = hyper::service::service_fn(|request| answer(&shared, request));
                        drop(
                            hyper::server::conn::http1::Builder::new()
                                .serve_connection(TokioIo::new(stream), answer)
                                .await,
                        );
                    });
                }
            }
        });
        let server = Self { name: name.to_owned(), address, folder, key_pair, shared, accepting };
        server.publish(&server.keys());
        server
    }

    /// The settings with which a homeserver finds this one and trusts its certificate.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting<'static>> {
        let addresses = Table::from_iter([(self.name.clone(), self.address.to_string().into())]);
        vec![
            ("network", "trusted_ca", vec![self.certificate().display().to_string()].into()),
            ("federation", "server_addresses", addresses.into()),
        ]
    }

    /// The PEM file of the server's certificate, which is its own authority.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Its server name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port it listens on, of 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The document of its keys, without a signature.
    #[must_use]
    pub fn keys(&self) -> Value {
        let key = ruma::serde::Base64::<ruma::serde::base64::Standard, _>::new(self.key_pair.public_key());
        json!({
            "server_name": self.name,
            "valid_until_ts": FAR_FUTURE,
            "verify_keys": { "ed25519:remote": { "key": key.encode() } },
            "old_verify_keys": {},
        })
    }

    /// Publishes this document, signed.
    pub fn publish(&self, keys: &Value) {
        self.answer(KEYS, 200, self.signed(keys).to_string());
    }

    /// Answers requests for `path`, whatever their query, from now on; for all paths that begin with it if it ends with `/`.
    pub fn answer(&self, path: &str, status: u16, body: impl Into<Bytes>) {
        self.answer_with(path, status, &[], body);
    }

    /// As [`RemoteServer::answer`], with headers.
    ///
    /// # Panics
    /// When a value is not allowed in a header.
    pub fn answer_with(&self, path: &str, status: u16, headers: &[(HeaderName, &str)], body: impl Into<Bytes>) {
        let header = |(name, value): &(HeaderName, &str)| (name.clone(), value.parse().expect("a header value"));
        let answer = PreparedAnswer { status, headers: headers.iter().map(header).collect(), body: body.into() };
        self.shared.lock().answers.insert(path.to_owned(), answer);
    }

    /// Never answers requests for `path`.
    pub fn never_answer(&self, path: &str) {
        self.shared.lock().silent.push(path.to_owned());
    }

    /// Answers requests for `path` as otherwise, but sends a byte of the body every tenth of a second, for ever.
    pub fn drip(&self, path: &str) {
        self.shared.lock().dripping.push(path.to_owned());
    }

    /// What it was asked under `path`, so far; under all paths that begin with it if it ends with `/`.
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<ReceivedRequest> {
        let is_of_path =
            |request: &&ReceivedRequest| request.uri.split('?').next().is_some_and(|asked| is_under(asked, path));
        self.shared.lock().requests.iter().filter(is_of_path).cloned().collect()
    }

    /// The `Authorization` header of a GET of this server.
    ///
    /// # Panics
    /// When the URI is too strange to be signed.
    #[must_use]
    pub fn authorization(&self, destination: &str, uri: &str) -> String {
        self.authorization_of(&Method::GET, destination, uri, None)
    }

    /// The `Authorization` header of a request of this server with that body.
    ///
    /// # Panics
    /// When the URI or the body is too strange to be signed.
    #[must_use]
    pub fn authorization_of(&self, method: &Method, destination: &str, uri: &str, body: Option<&Value>) -> String {
        let mut request =
            json!({ "method": method.as_str(), "uri": uri, "origin": self.name, "destination": destination });
        if let (Some(request), Some(body)) = (request.as_object_mut(), body) {
            request.insert("content".to_owned(), body.clone());
        }
        let signed = self.signed(&request);
        let signature = signed["signatures"][&self.name]["ed25519:remote"].as_str().expect("it was signed").to_owned();
        let origin = &self.name;
        format!(r#"X-Matrix origin="{origin}",destination="{destination}",key="ed25519:remote",sig="{signature}""#)
    }

    /// The object with the server's signature.
    ///
    /// # Panics
    /// When it is not an object, or not canonical.
    #[must_use]
    pub fn signed(&self, object: &Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(object.clone()).expect("the object is canonical");
        sign_json(&self.name, &self.key_pair, &mut object).expect("the object can be signed");
        serde_json::to_value(object).expect("JSON stays JSON")
    }

    /// An event of room version 11 with its hash and the server's signature, and its ID.
    ///
    /// # Panics
    /// When it is not an event, or not canonical.
    #[must_use]
    pub fn signed_event(&self, event: &Value) -> (String, Value) {
        let mut object: CanonicalJsonObject = serde_json::from_value(event.clone()).expect("the event is canonical");
        let rules = RoomVersionRules::V11;
        hash_and_sign_event(&self.name, &self.key_pair, &mut object, &rules.redaction).expect("it can be signed");
        let id = reference_hash(&object, &rules).expect("it can be hashed");
        (format!("${id}"), serde_json::to_value(object).expect("JSON stays JSON"))
    }
}

impl Drop for RemoteServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A body of one byte after the other.
struct Drips(Interval);

impl Body for Drips {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_tick(context).map(|_| Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

async fn answer(
    shared: &Mutex<Shared>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (parts, body) = request.into_parts();
    // A body that breaks off is as good as none.
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let drips = shared.lock().dripping.contains(&path);
    let found = {
        let mut shared = shared.lock();
        let Parts { method, uri, headers, .. } = parts;
        shared.requests.push(ReceivedRequest { method, uri: uri.to_string(), headers, body });
        if shared.silent.contains(&path) { Err(()) } else { Ok(shared.answer_to(&path).cloned()) }
    };
    match found {
        Err(()) => std::future::pending().await,
        Ok(None) => {
            let body = json!({ "errcode": "M_UNRECOGNIZED", "error": "Nothing here" }).to_string();
            Ok(response(PreparedAnswer { status: 404, headers: HeaderMap::new(), body: body.into() })
                .map(BodyExt::boxed))
        }
        Ok(Some(prepared)) if drips => {
            Ok(response(prepared).map(|_| Drips(tokio::time::interval(Duration::from_millis(100))).boxed()))
        }
        Ok(Some(prepared)) => Ok(response(prepared).map(BodyExt::boxed)),
    }
}

fn response(prepared: PreparedAnswer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(prepared.body));
    *response.headers_mut() = prepared.headers;
    *response.status_mut() = http::StatusCode::from_u16(prepared.status).expect("a test knows its statuses");
    response
}
