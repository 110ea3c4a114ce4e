use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use api::extract::PeerAddress;
use axum::{Router, response::Response, routing::future::RouteFuture};
use http::Request;
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

/// A connection that has not sent a whole request head by then is closed, TLS handshake and protocol choice included.
pub(super) const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The same for the requests after the first on HTTP/1.1, counted from the answer before: also how long a connection
/// may stay unused.
const NEXT_REQUEST_TIMEOUT: Duration = Duration::from_secs(75);
/// The largest request head; bodies stream through the same buffer.
const BUFFER_SIZE_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
const HTTP2_MAX_STREAMS: u32 = 128;
const HTTP2_MAX_HEADER_BYTES: u32 = 32 << 10;
const HTTP2_MAX_SEND_BUFFER_BYTES: usize = 64 << 10;
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(60);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The protocol options, the same for every connection.
pub(super) fn protocol() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST_TIMEOUT)
        .max_buf_size(BUFFER_SIZE_BYTES)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_MAX_STREAMS)
        .max_header_list_size(HTTP2_MAX_HEADER_BYTES)
        .max_send_buf_size(HTTP2_MAX_SEND_BUFFER_BYTES)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}

/// When connections have to end.
#[derive(Clone)]
pub(super) struct Ending {
    /// Cancelled when the server stops: what is in flight may finish.
    pub(super) stopping: CancellationToken,
    /// For this long.
    pub(super) grace: Duration,
}

/// Serves the requests of one connection until either side is done with it.
pub(super) async fn serve<IO>(
    io: IO,
    protocol: &Builder<TokioExecutor>,
    router: Router,
    peer: SocketAddr,
    ending: &Ending,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requested = Arc::new(AtomicBool::new(false));
    let service = Requests { router, peer, requested: requested.clone() };
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(io), service));
    let mut stopping = pin!(ending.stopping.cancelled());
    let mut deadline = pin!(sleep(FIRST_REQUEST_TIMEOUT));
    let (mut is_new, mut is_stopping) = (true, false);
    loop {
        tokio::select! {
            biased;
            served = connection.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(%peer, error, "a connection ended early");
                }
                return;
            }
            () = stopping.as_mut(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
                deadline.set(sleep(ending.grace));
            }
            () = deadline.as_mut(), if is_new || is_stopping => {
                if is_stopping || !requested.load(Ordering::Relaxed) {
                    tracing::debug!(%peer, is_stopping, "a connection took too long");
                    return;
                }
                is_new = false;
            }
        }
    }
}

/// Hands the requests of one connection to the router.
struct Requests {
    router: Router,
    peer: SocketAddr,
    /// Whether there was any.
    requested: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.requested.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(PeerAddress(self.peer));
        // A router is always ready, and its clones share everything.
        self.router.clone().call(request)
    }
}
