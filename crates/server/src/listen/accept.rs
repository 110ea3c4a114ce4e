use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use api::extract::{PeerAddress, TrustedProxies};
use axum::Router;
use config::{Config, Sources};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::{Ending, FIRST_REQUEST_TIMEOUT, serve},
    protocol::{Protocol, Protocols},
    tls::Certificate,
};
use crate::StartError;

/// Without file descriptors or memory accepting fails at once, again and again.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// A bound address whose connections wait in the system's queue until somebody accepts them.
pub(crate) struct Listening {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Option<Arc<Certificate>>,
    trusted_proxies: Arc<TrustedProxies>,
}

impl Listening {
    /// Binds every listener of the configuration, in its order.
    pub(crate) async fn bind_all(config: &Config, sources: &Sources) -> Result<Vec<Self>, StartError> {
        let certificates = Self::certificates(config, sources)?;
        let mut bound = Vec::with_capacity(config.listeners.len());
        for (listener, certificate) in config.listeners.iter().zip(certificates) {
            let failed = |error| StartError::Listen { address: listener.bind, error };
            let proxies = listener.trusted_proxies.iter().map(|range| range.network());
            let trusted_proxies = Arc::new(TrustedProxies::new(proxies));
            let listener = TcpListener::bind(listener.bind).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            bound.push(Self { listener, address, certificate: certificate.map(Arc::new), trusted_proxies });
        }
        Ok(bound)
    }

    fn peer(&self, address: SocketAddr) -> PeerAddress {
        PeerAddress { address, trusted_proxies: self.trusted_proxies.clone() }
    }

    /// Reads the certificate of every listener that has one.
    pub(crate) fn certificates(config: &Config, sources: &Sources) -> Result<Vec<Option<Certificate>>, config::Error> {
        let listeners = config.listeners.iter().enumerate();
        let certificates = listeners.map(|(index, listener)| {
            let load = |tls| Certificate::load(tls, &format!("listeners[{index}]"), sources);
            listener.tls.as_ref().map(load).transpose()
        });
        certificates.collect()
    }
}

/// What the listeners of one server share.
#[derive(Clone)]
pub(crate) struct Accepting {
    permits: Arc<Semaphore>,
    protocols: Arc<Protocols>,
    ending: Ending,
    tasks: TaskTracker,
}

impl Accepting {
    /// Accepts at most `max_connections` at a time, until `stopping` is cancelled; connections then have `grace` to end.
    pub(crate) fn new(
        max_connections: usize,
        stopping: CancellationToken,
        grace: Duration,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max_connections)),
            protocols: Arc::new(Protocols::new()),
            ending: Ending { stopping, grace },
            tasks,
        }
    }

    /// Accepts connections of one listener in the background.
    pub(crate) fn spawn(&self, listening: Listening, router: Router) {
        self.tasks.spawn(self.clone().accept_all(listening, router));
    }

    async fn accept_all(self, listening: Listening, router: Router) {
        let stopping = self.ending.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.accept_forever(&listening, &router) => {}
        }
        if let Err(error) = self.accept_waiting(listening, &router) {
            tracing::debug!(%error, "connections that were waiting are lost");
        }
    }

    async fn accept_forever(&self, listening: &Listening, router: &Router) {
        loop {
            // The permit comes first: beyond the limit connections wait in the system's queue, which is bounded too.
            let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
            let (stream, peer) = match listening.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.pause_after(&error).await;
                    continue;
                }
            };
            let peer = listening.peer(peer);
            self.spawn_connection((stream, peer), router.clone(), listening.certificate.clone(), permit);
        }
    }

    /// Accepts those whom the system has connected already: when the listener is closed they would be cut off, with what
    /// they have asked.
    fn accept_waiting(&self, listening: Listening, router: &Router) -> io::Result<()> {
        // The system's queue itself is asked, because the runtime may not know yet that there is something in it.
        let (trusted_proxies, certificate) = (listening.trusted_proxies, listening.certificate);
        let listener = listening.listener.into_std()?;
        while let Ok(permit) = self.permits.clone().try_acquire_owned() {
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            let stream = TcpStream::from_std(stream)?;
            let peer = PeerAddress { address: peer, trusted_proxies: trusted_proxies.clone() };
            self.spawn_connection((stream, peer), router.clone(), certificate.clone(), permit);
        }
        Ok(())
    }

    fn spawn_connection(
        &self,
        (stream, peer): (TcpStream, PeerAddress),
        router: Router,
        certificate: Option<Arc<Certificate>>,
        permit: OwnedSemaphorePermit,
    ) {
        let accepting = self.clone();
        self.tasks.spawn(async move {
            accepting.serve(stream, peer, router, certificate).await;
            drop(permit);
        });
    }

    async fn pause_after(&self, error: &io::Error) {
        // The client went away while it waited: nothing is wrong here.
        if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            tracing::warn!(%error, "cannot accept a connection");
            sleep(PAUSE_AFTER_ERROR).await;
        }
    }

    async fn serve(self, stream: TcpStream, peer: PeerAddress, router: Router, certificate: Option<Arc<Certificate>>) {
        // Without it an answer that is written in two parts waits for the client's acknowledgement of the first.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(peer = %peer.address, %error, "a connection was lost at once");
            return;
        }
        match certificate {
            None => self.serve_plain(stream, peer, router).await,
            // In a box of its own, so that the task of a plain connection is not as large as that of an encrypted one.
            Some(certificate) => Box::pin(self.serve_encrypted(stream, peer, router, &certificate)).await,
        }
    }

    async fn serve_plain(&self, stream: TcpStream, peer: PeerAddress, router: Router) {
        let begun = tokio::select! {
            begun = timeout(FIRST_REQUEST_TIMEOUT, Protocol::of(&stream)) => begun,
            // Whatever it speaks, it is soon over.
            () = self.ending.stopping.cancelled() => Ok(Ok(Protocol::Http1)),
        };
        match begun {
            Ok(Ok(protocol)) => serve(stream, (&self.protocols, protocol), router, peer, &self.ending).await,
            Ok(Err(error)) => tracing::debug!(peer = %peer.address, %error, "a connection was lost at once"),
            Err(_) => tracing::debug!(peer = %peer.address, "a client said nothing"),
        }
    }

    async fn serve_encrypted(&self, stream: TcpStream, peer: PeerAddress, router: Router, certificate: &Certificate) {
        match timeout(FIRST_REQUEST_TIMEOUT, certificate.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => {
                let protocol = Protocol::negotiated(stream.get_ref().1.alpn_protocol());
                serve(stream, (&self.protocols, protocol), router, peer, &self.ending).await;
            }
            Ok(Err(error)) => tracing::debug!(peer = %peer.address, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %peer.address, "a TLS handshake took too long"),
        }
    }
}
