use std::{net::SocketAddr, sync::Arc, time::Duration};

use api::extract::{PeerAddress, TrustedProxies};
use axum::{Router, routing::get};
use config::{Loaded, Sources};
use homeserver_core::Live;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};

use super::{
    Accepting, InheritedSockets, ListenAddress, Listening,
    connection::{Ending, FIRST_REQUEST_TIMEOUT, serve},
    protocol::{Protocol, Protocols},
};

const GRACE: Duration = Duration::from_millis(500);

fn peer() -> PeerAddress {
    let trusted_proxies = Arc::new(TrustedProxies::default());
    PeerAddress { address: Some(SocketAddr::from(([127, 0, 0, 1], 1))), trusted_proxies }
}

struct Server {
    address: SocketAddr,
    stopping: CancellationToken,
    connections: TaskTracker,
}

/// `/wait` answers when the server stops, `/slow` in 100 ms, `/never` never, and `/` at once.
fn routes(stopping: &CancellationToken) -> Router {
    let stopping = stopping.clone();
    Router::new()
        .route("/", get(async || "at once"))
        .route("/slow", get(async || sleep(GRACE / 5).await))
        .route("/never", get(async || std::future::pending::<()>().await))
        .route("/wait", get(async move || stopping.cancelled_owned().await))
}

async fn server(max_connections: usize) -> Server {
    let config = config::load(None, [("SYNAPSE_RUST__LISTENERS", "[{ bind = '127.0.0.1:0' }]")]).unwrap().config;
    let listening =
        Listening::bind_all(&config, &Sources::default(), &mut InheritedSockets::none()).await.unwrap().pop().unwrap();
    let (stopping, connections) = (CancellationToken::new(), TaskTracker::new());
    let ListenAddress::Tcp(address) = listening.address else { panic!("not TCP") };
    let router = routes(&stopping);
    Accepting::new(max_connections, stopping.clone(), GRACE, connections.clone()).spawn(listening, router);
    Server { address, stopping, connections }
}

impl Server {
    async fn request(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        // Long enough for the handler to run.
        sleep(GRACE / 10).await;
        stream
    }

    async fn stop(self) -> Duration {
        let started = Instant::now();
        self.stopping.cancel();
        self.connections.close();
        self.connections.wait().await;
        started.elapsed()
    }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn stopping_releases_waiting_requests_and_lets_others_finish() {
    let server = server(10).await;
    let (waiting, slow, idle) =
        (server.request("/wait").await, server.request("/slow").await, server.request("/").await);
    assert!(server.stop().await < GRACE);
    for stream in [waiting, slow, idle] {
        assert!(rest(stream).await.starts_with("HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn a_request_that_never_finishes_does_not_keep_the_server_from_stopping() {
    let server = server(10).await;
    let never = server.request("/never").await;
    let took = server.stop().await;
    assert!(took >= GRACE && took < 4 * GRACE, "{took:?}");
    assert_eq!(rest(never).await, "");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = server(1).await;
    let first = server.request("/never").await;
    let mut second = server.request("/").await;
    let mut byte = [0];
    assert!(timeout(GRACE, second.read(&mut byte)).await.is_err(), "answered beyond the limit");
    drop(first);
    assert_eq!(timeout(10 * GRACE, second.read(&mut byte)).await.unwrap().unwrap(), 1);
}

/// Serves a client that sends this and no more.
fn piped(protocol: Protocol, sent: &'static str) -> JoinHandle<()> {
    let (mut client, io) = duplex(64 << 10);
    let ending = Ending { stopping: CancellationToken::new(), grace: Live::new(GRACE) };
    let router = routes(&ending.stopping);
    let served = tokio::spawn(async move {
        serve(io, (&Protocols::new(), protocol), router, peer(), &ending).await;
    });
    tokio::spawn(async move {
        client.write_all(sent.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    served
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_finish_its_first_request_is_cut_off() {
    for (protocol, sent) in [
        (Protocol::Http1, ""),
        (Protocol::Http1, "P"),
        (Protocol::Http1, "GET / HTTP/1.1\r\nhost: a\r\n"),
        (Protocol::Http2, "PRI * HTTP/2.0\r\n"),
        (Protocol::Http2, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let served = piped(protocol, sent);
        let started = Instant::now();
        served.await.unwrap();
        let took = started.elapsed();
        assert!(took >= FIRST_REQUEST_TIMEOUT && took <= FIRST_REQUEST_TIMEOUT + GRACE, "{sent:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_is_not_cut_off() {
    let served = piped(Protocol::Http1, "GET /never HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(timeout(Duration::from_secs(600), served).await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = server(1).await;
    let listeners = format!("[{{ bind = '{}' }}]", server.address);
    let Loaded { config, sources } = config::load(None, [("SYNAPSE_RUST__LISTENERS", listeners)]).unwrap();
    let Err(error) = Listening::bind_all(&config, &sources, &mut InheritedSockets::none()).await else {
        panic!("bound twice")
    };
    let expected = format!("cannot listen on {}: Address already in use (os error 98)", server.address);
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn the_future_of_a_connection_is_small() {
    let (io, _other) = duplex(1);
    let ending = Ending { stopping: CancellationToken::new(), grace: Live::new(GRACE) };
    let (protocols, router) = (Protocols::new(), Router::new());
    let future = serve(io, (&protocols, Protocol::Http1), router, peer(), &ending);
    let size = size_of_val(&future);
    assert!(size <= 2560, "{size} bytes");
    drop(future);
}

#[tokio::test]
async fn the_protocol_is_known_by_how_a_client_begins() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (parts, expected) in [
        (vec!["GET / HTTP/1.1\r\n"], Protocol::Http1),
        (vec!["POST / HTTP/1.1\r\n"], Protocol::Http1),
        (vec!["P", "UT / HTTP/1.1\r\n"], Protocol::Http1),
        (vec!["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], Protocol::Http2),
        (vec!["P", "R", "I * HTTP/2.0\r\n"], Protocol::Http2),
        (vec![""], Protocol::Http1),
    ] {
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let stream = Either::Left(listener.accept().await.unwrap().0);
        let sending = async {
            for part in &parts {
                client.write_all(part.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(30)).await;
            }
            client.shutdown().await.unwrap();
        };
        let (protocol, ()) = tokio::join!(Protocol::of(&stream), sending);
        assert_eq!(protocol.unwrap(), expected, "{parts:?}");
    }
}

#[tokio::test]
async fn the_protocol_is_known_on_a_unix_socket_too() {
    for (start, expected) in
        [("PRI * HTTP/2.0\r\n", Protocol::Http2), ("PUT / HTTP/1.1\r\n", Protocol::Http1), ("", Protocol::Http1)]
    {
        let (mut client, stream) = UnixStream::pair().unwrap();
        let mut stream = Either::Right(stream);
        let sending = async {
            sleep(Duration::from_millis(30)).await;
            client.write_all(start.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let (protocol, ()) = tokio::join!(Protocol::of(&stream), sending);
        assert_eq!(protocol.unwrap(), expected, "{start:?}");
        let mut left = String::new();
        stream.read_to_string(&mut left).await.unwrap();
        assert_eq!(left, start, "it was only looked at");
    }
}
