use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use api::extract::PeerAddress;
use axum::{Router, response::Response, routing::future::RouteFuture};
use homeserver_core::Live;
use http::{HeaderValue, Request, Version, header::CONNECTION};
use hyper::{body::Incoming, service::Service};
use pin_project_lite::pin_project;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::{
    protocol::{Connection, Protocol, Protocols, Stream},
    socket::Peer,
};

/// A connection that has not sent a whole request head by then is closed, TLS handshake and protocol choice included.
pub(super) const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a server that stops waits for a request that may be on its way on a connection without one: closing at once would
/// cut it off.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_millis(250);

/// When connections have to end.
#[derive(Clone)]
pub(super) struct Ending {
    /// Cancelled when the server stops: requests in flight may finish.
    pub(super) stopping: CancellationToken,
    /// For this long.
    pub(super) grace: Live<Duration>,
}

/// Serves the requests of one connection until either side is done with it.
pub(super) async fn serve(
    io: impl Stream,
    (protocols, protocol): (&Protocols, Protocol),
    router: Router,
    from: PeerAddress,
    ending: &Ending,
) {
    let progress = Arc::new(Progress::default());
    let peer = Peer(from.address);
    let requests = Requests { router, peer: from, progress: progress.clone() };
    match protocol {
        Protocol::Http1 => drive(protocols.http1(io, requests), &progress, peer, ending).await,
        // In a box of its own, so that the task of an HTTP/1.1 connection is not as large as that of an HTTP/2 one.
        Protocol::Http2 => Box::pin(drive(protocols.http2(io, requests), &progress, peer, ending)).await,
    }
}

async fn drive(connection: impl Connection, progress: &Progress, peer: Peer, ending: &Ending) {
    let mut connection = pin!(connection);
    let mut stopping = pin!(ending.stopping.cancelled());
    let mut deadline = pin!(sleep(FIRST_REQUEST_TIMEOUT));
    let mut stage = Stage::New;
    loop {
        tokio::select! {
            biased;
            served = connection.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(%peer, %error, "a connection ended early");
                }
                return;
            }
            () = stopping.as_mut(), if matches!(stage, Stage::New | Stage::Established) => {
                progress.is_last.store(true, Ordering::Relaxed);
                deadline.set(sleep(LAST_REQUEST_TIMEOUT.min(*ending.grace.read())));
                stage = Stage::LastRequest;
            }
            () = deadline.as_mut(), if stage != Stage::Established => match stage {
                Stage::New if progress.is_requested.load(Ordering::Relaxed) => stage = Stage::Established,
                Stage::LastRequest => {
                    connection.as_mut().finish();
                    deadline.set(sleep(ending.grace.read().saturating_sub(LAST_REQUEST_TIMEOUT)));
                    stage = Stage::LastAnswer;
                }
                _ => {
                    tracing::debug!(%peer, ?stage, "a connection took too long");
                    return;
                }
            },
        }
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// It must send a request soon.
    New,
    /// The protocol's own limits apply.
    Established,
    /// The server stops: requests that are on their way are still received.
    LastRequest,
    /// No more requests are received; answers in progress are finished.
    LastAnswer,
}

/// What a connection and its requests tell each other.
#[derive(Default)]
struct Progress {
    /// Whether there was any request.
    is_requested: AtomicBool,
    /// Whether the request that is answered next is the connection's last.
    is_last: AtomicBool,
}

/// Hands the requests of one connection to the router.
struct Requests {
    router: Router,
    peer: PeerAddress,
    progress: Arc<Progress>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.progress.is_requested.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(self.peer.clone());
        let progress = (request.version() <= Version::HTTP_11).then(|| self.progress.clone());
        // A router is always ready, and its clones share everything.
        Answering { answer: self.router.clone().call(request), progress }
    }
}

pin_project! {
    /// The answer to a request. On HTTP/1 the last one says so, so that the client does not send another request.
    struct Answering {
        #[pin]
        answer: RouteFuture<Infallible>,
        progress: Option<Arc<Progress>>,
    }
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(context));
        if let (Ok(answer), Some(progress)) = (&mut answer, this.progress)
            && progress.is_last.load(Ordering::Relaxed)
        {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(answer)
    }
}
