//! Servers that take every transaction and publish their keys.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::signing::Signer;

/// What the text of a message begins with whose way is measured.
pub(super) const MARK: &str = "load test ";

/// Everything that the servers have seen.
#[derive(Default)]
struct Seen {
    /// When messages were sent, by their text.
    sent: HashMap<String, Instant>,
    arrived: Vec<Duration>,
}

/// Servers at all addresses that begin with 127, on one port.
pub(super) struct Stubs(Arc<Mutex<Seen>>);

impl Stubs {
    pub(super) async fn start(port: u16, signer: Arc<Signer>) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
        let listener = listener.with_context(|| format!("listening on port {port}"))?;
        let acceptor = acceptor()?;
        let stub = Arc::new(Stub { seen: seen.clone(), signer });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stub.clone(), acceptor.clone(), stream));
            }
        });
        Ok(Self(seen))
    }

    /// A message is being sent now.
    pub(super) fn sends(&self, text: String) {
        lock(&self.0).sent.insert(text, Instant::now());
    }

    /// How long messages have taken to servers, and forgets it.
    pub(super) fn arrived(&self) -> Vec<Duration> {
        std::mem::take(&mut lock(&self.0).arrived)
    }

    /// How many messages have arrived that were not forgotten.
    pub(super) fn count(&self) -> usize {
        lock(&self.0).arrived.len()
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A certificate for any name: the server does not look at it.
fn acceptor() -> anyhow::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(vec!["loadtest.invalid".to_owned()])?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Stub {
    seen: Arc<Mutex<Seen>>,
    signer: Arc<Signer>,
}

async fn serve(stub: Arc<Stub>, acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(address) = stream.local_addr() else { return };
    let name = address.to_string();
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let answer = service_fn(|request| answer(&stub, &name, request));
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
}

async fn answer(stub: &Stub, name: &str, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path();
    let found = if path.starts_with("/_matrix/federation/v1/send/") {
        stub.note(&body);
        Some(json!({ "pdus": {} }))
    } else if path == "/_matrix/key/v2/server" {
        stub.signer.keys(name, &[]).ok()
    } else if path == "/_matrix/key/v2/query" {
        stub.vouch(name, &body)
    } else {
        None
    };
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let json = found.unwrap_or_else(|| json!({ "errcode": "M_UNRECOGNIZED", "error": "Nothing here" }));
    let mut response = Response::new(Full::new(Bytes::from(json.to_string())));
    *response.status_mut() = status;
    Ok(response)
}

impl Stub {
    /// Notes the messages of a transaction whose way is measured.
    fn note(&self, body: &[u8]) {
        let now = Instant::now();
        let Ok(transaction) = serde_json::from_slice::<Value>(body) else { return };
        let pdus = transaction.get("pdus").and_then(Value::as_array).into_iter().flatten();
        let texts = pdus.filter_map(|pdu| pdu.pointer("/content/body")?.as_str().filter(|text| text.starts_with(MARK)));
        let mut seen = lock(&self.seen);
        for text in texts {
            if let Some(sent) = seen.sent.get(text).copied() {
                seen.arrived.push(now.saturating_duration_since(sent));
            }
        }
    }

    /// Tells the keys of any server.
    fn vouch(&self, name: &str, body: &[u8]) -> Option<Value> {
        let asked: Value = serde_json::from_slice(body).ok()?;
        let servers = asked.get("server_keys")?.as_object()?;
        let keys = servers.keys().filter_map(|server| self.signer.keys(server, &[name]).ok());
        Some(json!({ "server_keys": keys.collect::<Vec<_>>() }))
    }
}
