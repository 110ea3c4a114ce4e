//! HTTP/1.1 and HTTP/2: their limits, and which of them a client speaks.

use std::{convert::Infallible, io, pin::Pin, time::Duration};

use axum::{body::Body, response::Response};
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::socket::{Accepted, peek};

/// How long a connection may take for a request head after the first on HTTP/1.1, counted from the answer before: also
/// how long it may stay unused.
const NEXT_REQUEST_TIMEOUT: Duration = Duration::from_secs(75);
/// The largest request head; bodies stream through the same buffer.
const BUFFER_SIZE_BYTES: usize = 64 << 10;
const HTTP2_MAX_STREAMS: u32 = 128;
const HTTP2_MAX_HEADER_BYTES: u32 = 32 << 10;
const HTTP2_MAX_SEND_BUFFER_BYTES: usize = 64 << 10;
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(60);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// No HTTP/1.1 request begins like this.
const HTTP2_PREFACE: &[u8; 4] = b"PRI ";
const PREFACE_PAUSE: Duration = Duration::from_millis(10);

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// What a client that is not asked begins to speak.
    ///
    /// Looked at while it still lies in the system's buffer: if the first bytes came out of a buffer of ours, hyper would
    /// have them first and the rest in a second read, for which it doubles its own buffer, to 16 KiB for as long as the
    /// connection lives. A thousand waiting clients would cost that much more.
    pub(super) async fn of(stream: &Accepted) -> io::Result<Self> {
        let mut start = [0; HTTP2_PREFACE.len()];
        loop {
            let size = peek(stream, &mut start).await?;
            if size == 0 || !HTTP2_PREFACE.starts_with(start.get(..size).unwrap_or(&start)) {
                return Ok(Self::Http1);
            }
            if size == start.len() {
                return Ok(Self::Http2);
            }
            // What was seen stays in the system's buffer, so there is nothing to wait for but time.
            sleep(PREFACE_PAUSE).await;
        }
    }

    /// What a client has chosen in the TLS handshake.
    pub(super) fn negotiated(name: Option<&[u8]>) -> Self {
        if name == Some(b"h2") { Self::Http2 } else { Self::Http1 }
    }
}

/// The protocols' options, the same for every connection.
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    pub(super) fn new() -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(NEXT_REQUEST_TIMEOUT).max_buf_size(BUFFER_SIZE_BYTES);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_MAX_STREAMS)
            .max_header_list_size(HTTP2_MAX_HEADER_BYTES)
            .max_send_buf_size(HTTP2_MAX_SEND_BUFFER_BYTES)
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT);
        Self { http1, http2 }
    }

    pub(super) fn http1<IO, S>(&self, io: IO, requests: S) -> impl Connection + use<IO, S>
    where
        IO: Stream,
        S: Requested,
    {
        self.http1.serve_connection(TokioIo::new(io), requests)
    }

    pub(super) fn http2<IO, S>(&self, io: IO, requests: S) -> impl Connection + use<IO, S>
    where
        IO: Stream,
        S: Requested,
    {
        self.http2.serve_connection(TokioIo::new(io), requests)
    }
}

/// A connection of either protocol.
pub(super) trait Connection: Future<Output = hyper::Result<()>> + Send {
    /// Receives no more requests, and ends when those in flight are answered.
    fn finish(self: Pin<&mut Self>);
}

impl<IO: Stream, S: Requested> Connection for http1::Connection<TokioIo<IO>, S> {
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<IO: Stream, S: Requested> Connection for http2::Connection<TokioIo<IO>, S, TokioExecutor> {
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A byte stream, plain or encrypted.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for IO {}

/// What answers the requests of a connection.
pub(super) trait Requested:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static> + Send + 'static
{
}

impl<S> Requested for S
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
}
