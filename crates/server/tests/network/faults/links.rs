//! The network between homeservers: each hears another one only by a link, which can be cut, and loses, delays and repeats requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use testing::{Client, TestAuthority};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How likely it is that a request is lost, that its answer is, that it is delayed, and that it comes twice.
const LOST: f64 = 0.04;
const ANSWER_LOST: f64 = 0.04;
const DELAYED: f64 = 0.15;
const REPEATED: f64 = 0.1;
/// Delays, and how much later the second of two equal requests comes.
const DELAY_MS: std::ops::Range<u64> = 1..80;
const REPEATED_AFTER_MS: std::ops::Range<u64> = 20..1_500;

/// What one homeserver says to another one.
pub(super) struct Link {
    is_cut: AtomicBool,
    is_faulty: AtomicBool,
    random: Mutex<StdRng>,
    target: Client,
    address: SocketAddr,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// The transactions that came through.
    transactions: Mutex<Vec<Value>>,
}

/// The request or its answer was lost.
#[derive(Debug, thiserror::Error)]
#[error("lost")]
struct Lost;

impl Link {
    /// A link to the homeserver of this name, which speaks plain HTTP at `target`.
    pub(super) async fn open(authority: &TestAuthority, name: &str, target: &str, seed: u64) -> Arc<Self> {
        let acceptor = acceptor(authority, name);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Arc::new(Self {
            is_cut: AtomicBool::new(false),
            is_faulty: AtomicBool::new(false),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            target: Client::new(target),
            address: listener.local_addr().unwrap(),
            accepting: Mutex::new(None),
            transactions: Mutex::default(),
        });
        let accepting = tokio::spawn({
            let link = link.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(link.clone().serve(acceptor.clone(), stream));
                }
            }
        });
        *link.accepting.lock() = Some(accepting);
        link
    }

    /// Where the sender finds the receiver.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing comes through until it is mended.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
    }

    pub(super) fn mend(&self) {
        self.is_cut.store(false, Ordering::Release);
    }

    /// The bodies of messages that came through in transactions.
    pub(super) fn messages(&self) -> Vec<String> {
        let transactions = self.transactions.lock();
        let pdus = transactions.iter().flat_map(|transaction| transaction["pdus"].as_array().into_iter().flatten());
        pdus.filter_map(|pdu| pdu["content"]["body"].as_str()).map(ToOwned::to_owned).collect()
    }

    /// Whether requests are lost, delayed and repeated.
    pub(super) fn be_faulty(&self, is_faulty: bool) {
        self.is_faulty.store(is_faulty, Ordering::Release);
    }

    /// Ends it, so that the sender and the receiver are let go.
    pub(super) fn close(&self) {
        if let Some(accepting) = self.accepting.lock().take() {
            accepting.abort();
        }
    }

    async fn serve(self: Arc<Self>, acceptor: TlsAcceptor, stream: TcpStream) {
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let pass = service_fn(|request| self.clone().pass(request));
        drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await);
    }

    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
        let fate = self.fate();
        if fate.is_lost || self.is_cut.load(Ordering::Acquire) {
            return Err(Lost);
        }
        tokio::time::sleep(fate.delay).await;
        let is_transaction = head.uri.path().contains("/v1/send/");
        if is_transaction {
            self.transactions.lock().push(serde_json::from_slice(&body).unwrap());
        }
        let again = self.request(&head, body.clone());
        let answer = self.request(&head, body).send().await.map_err(|_| Lost)?;
        tell_refused(&answer.json);
        if let Some(later) = fate.repeated_after.filter(|_| is_transaction) {
            tokio::spawn(async move {
                tokio::time::sleep(later).await;
                if !self.is_cut.load(Ordering::Acquire) {
                    drop(again.send().await);
                }
            });
        }
        if fate.is_answer_lost {
            return Err(Lost);
        }
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        for (name, value) in &answer.headers {
            if name != http::header::TRANSFER_ENCODING && name != http::header::CONNECTION {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
        Ok(response)
    }

    fn request(&self, head: &http::request::Parts, body: Bytes) -> testing::Request {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self.target.request(head.method.clone(), path).body(body);
        for name in [http::header::AUTHORIZATION, http::header::CONTENT_TYPE] {
            if let Some(value) = head.headers.get(&name) {
                request = request.header(name, value.to_str().unwrap());
            }
        }
        request
    }

    fn fate(&self) -> Fate {
        if !self.is_faulty.load(Ordering::Acquire) {
            return Fate::default();
        }
        let mut random = self.random.lock();
        let ms = |is_so: bool, ms: u64| is_so.then(|| Duration::from_millis(ms));
        Fate {
            is_lost: random.random_bool(LOST),
            is_answer_lost: random.random_bool(ANSWER_LOST),
            delay: ms(random.random_bool(DELAYED), random.random_range(DELAY_MS)).unwrap_or_default(),
            repeated_after: ms(random.random_bool(REPEATED), random.random_range(REPEATED_AFTER_MS)),
        }
    }
}

/// Tells why events of a transaction were not taken.
fn tell_refused(answer: &Value) {
    for (event_id, outcome) in answer["pdus"].as_object().into_iter().flatten() {
        if let Some(error) = outcome["error"].as_str() {
            println!("{event_id} is refused: {error}");
        }
    }
}

/// What becomes of one request.
#[derive(Default)]
struct Fate {
    is_lost: bool,
    is_answer_lost: bool,
    delay: Duration,
    repeated_after: Option<Duration>,
}

/// Speaks TLS as the homeserver of that name.
fn acceptor(authority: &TestAuthority, name: &str) -> TlsAcceptor {
    let (certificate, key) = authority.certify(name);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        );
    TlsAcceptor::from(Arc::new(config.unwrap()))
}
