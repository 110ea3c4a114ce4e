use std::{io, sync::Arc, time::Duration};

use api::extract::{PeerAddress, TrustedProxies};
use axum::Router;
use config::{Bind, Config, Sources};
use homeserver_core::Live;
use parking_lot::Mutex;
use tasks::loops::Loops;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::{Ending, FIRST_REQUEST_TIMEOUT, serve},
    inherited::InheritedSockets,
    protocol::{Protocol, Protocols},
    socket::{Accepted, ListenAddress, Peer, Socket, send_at_once},
    socket_file::{self, SocketFile},
    tls::Certificate,
};
use crate::StartError;

/// Without file descriptors or memory accepting fails at once, again and again.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// Said once in so long.
const PAUSE_BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// A socket of a listener.
pub(crate) struct Listening {
    socket: Socket,
    /// Of a unix socket that the server has made itself.
    file: Option<SocketFile>,
    pub(crate) address: ListenAddress,
    /// Which of the configuration's listeners it belongs to.
    pub(crate) listener: usize,
    pub(crate) certificate: Option<Arc<Certificate>>,
    trusted_proxies: Arc<TrustedProxies>,
}

impl Listening {
    /// Binds every listener of the configuration, in its order.
    pub(crate) async fn bind_all(
        config: &Config,
        sources: &Sources,
        inherited: &mut InheritedSockets,
    ) -> Result<Vec<Self>, StartError> {
        let certificates = Self::certificates(config, sources)?;
        let mut bound = Vec::with_capacity(config.listeners.len());
        for (index, (listener, certificate)) in config.listeners.iter().zip(certificates).enumerate() {
            let failed = |error| StartError::Listen { address: listener.bind.clone(), error };
            let certificate = certificate.map(Arc::new);
            let proxies = listener.trusted_proxies.iter().map(|range| range.network());
            let trusted_proxies = Arc::new(TrustedProxies::new(proxies));
            for (socket, file) in sockets(listener, inherited).await.map_err(failed)? {
                let address = socket.address().map_err(failed)?;
                let (certificate, trusted_proxies) = (certificate.clone(), trusted_proxies.clone());
                bound.push(Self { socket, file, address, listener: index, certificate, trusted_proxies });
            }
        }
        Ok(bound)
    }

    /// The same socket once more: both take connections from the same queue.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        let socket = self.socket.duplicate()?;
        let (address, certificate) = (self.address.clone(), self.certificate.clone());
        let trusted_proxies = self.trusted_proxies.clone();
        Ok(Self { socket, file: None, address, listener: self.listener, certificate, trusted_proxies })
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

async fn sockets(
    listener: &config::Listener,
    inherited: &mut InheritedSockets,
) -> io::Result<Vec<(Socket, Option<SocketFile>)>> {
    match &listener.bind {
        Bind::Tcp(address) => Ok(vec![(Socket::Tcp(TcpListener::bind(address).await?), None)]),
        Bind::Unix(path) => {
            let (socket, file) = socket_file::bind(path, listener.mode.unwrap_or_default()).await?;
            Ok(vec![(Socket::Unix(socket), Some(file))])
        }
        Bind::Systemd(name) => Ok(inherited.take(name)?.into_iter().map(|socket| (socket, None)).collect()),
    }
}

/// What the listeners of one server share.
#[derive(Clone)]
pub(crate) struct Accepting {
    permits: Arc<Semaphore>,
    /// How many permits there are, without those that are still to be taken away.
    most: Arc<Mutex<usize>>,
    protocols: Arc<Protocols>,
    ending: Ending,
    tasks: TaskTracker,
    /// Of the listener whose connections are accepted.
    trusted_proxies: Arc<TrustedProxies>,
    loops: Loops,
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
            most: Arc::new(Mutex::new(max_connections)),
            ending: Ending { stopping, grace: Live::new(grace) },
            tasks,
            trusted_proxies: Arc::default(),
            loops: Loops::default(),
        }
    }

    /// Registers the accepting loop with the health check.
    pub(crate) fn kept_by(self, loops: Loops) -> Self {
        Self { loops, ..self }
    }

    /// Accepts at most `max_connections` from now on. If there are more, nobody is cut off: no others are accepted until
    /// enough have gone.
    pub(crate) fn reconfigure(&self, max_connections: usize, grace: Duration) {
        self.ending.grace.replace(grace);
        let mut most = self.most.lock();
        if max_connections > *most {
            self.permits.add_permits(max_connections - *most);
        } else if let Ok(surplus) = u32::try_from(*most - max_connections) {
            let (permits, stopping) = (self.permits.clone(), self.ending.stopping.clone());
            self.tasks.spawn(async move {
                let taken = stopping.run_until_cancelled(permits.acquire_many_owned(surplus)).await;
                if let Some(Ok(taken)) = taken {
                    taken.forget();
                }
            });
        }
        *most = max_connections;
    }

    /// Accepts connections of one listener in the background.
    pub(crate) fn spawn(&self, listening: Listening, router: Router) {
        let accepting = Self { trusted_proxies: listening.trusted_proxies.clone(), ..self.clone() };
        self.tasks.spawn(accepting.accept_all(listening, router));
    }

    async fn accept_all(self, listening: Listening, router: Router) {
        let stopping = self.ending.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.loops.keep("accepting connections", &stopping, || self.accept_forever(&listening, &router)) => {}
        }
        if let Err(error) = self.accept_waiting(listening, &router) {
            tracing::debug!(%error, "connections that were waiting are lost");
        }
    }

    async fn accept_forever(&self, listening: &Listening, router: &Router) {
        let mut last_warning = None;
        loop {
            // The permit comes first: beyond the limit connections wait in the system's queue, which is bounded too.
            let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
            let (stream, peer) = match listening.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error, &mut last_warning).await;
                    continue;
                }
            };
            self.spawn_connection((stream, peer), router.clone(), listening.certificate.clone(), permit);
        }
    }

    /// Accepts the connections that the system has made already: closing the listener would cut them off with their requests.
    fn accept_waiting(&self, listening: Listening, router: &Router) -> io::Result<()> {
        // First the file: a client that comes now finds no server.
        drop(listening.file);
        let waiting = listening.socket.into_waiting()?;
        while let Ok(permit) = self.permits.clone().try_acquire_owned() {
            let (stream, peer) = match waiting.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            self.spawn_connection((stream, peer), router.clone(), listening.certificate.clone(), permit);
        }
        Ok(())
    }

    fn spawn_connection(
        &self,
        (stream, peer): (Accepted, Peer),
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

    async fn serve(self, stream: Accepted, peer: Peer, router: Router, certificate: Option<Arc<Certificate>>) {
        if let Err(error) = send_at_once(&stream) {
            tracing::debug!(%peer, %error, "a connection was lost at once");
            return;
        }
        match certificate {
            None => self.serve_plain(stream, peer, router).await,
            // In a box of its own, so that the task of a plain connection is not as large as that of an encrypted one.
            Some(certificate) => Box::pin(self.serve_encrypted(stream, peer, router, &certificate)).await,
        }
    }

    fn from(&self, Peer(address): Peer) -> PeerAddress {
        PeerAddress { address, trusted_proxies: self.trusted_proxies.clone() }
    }

    async fn serve_plain(&self, stream: Accepted, peer: Peer, router: Router) {
        let begun = tokio::select! {
            begun = timeout(FIRST_REQUEST_TIMEOUT, Protocol::of(&stream)) => begun,
            // Whatever it speaks, it is soon over.
            () = self.ending.stopping.cancelled() => Ok(Ok(Protocol::Http1)),
        };
        match begun {
            Ok(Ok(protocol)) => serve(stream, (&self.protocols, protocol), router, self.from(peer), &self.ending).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a connection was lost at once"),
            Err(_) => tracing::debug!(%peer, "a client said nothing"),
        }
    }

    async fn serve_encrypted(&self, stream: Accepted, peer: Peer, router: Router, certificate: &Certificate) {
        match timeout(FIRST_REQUEST_TIMEOUT, certificate.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => {
                let protocol = Protocol::negotiated(stream.get_ref().1.alpn_protocol());
                serve(stream, (&self.protocols, protocol), router, self.from(peer), &self.ending).await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
        }
    }
}

async fn pause_after(error: &io::Error, last_warning: &mut Option<Instant>) {
    // The client went away while it waited: nothing is wrong here.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    if last_warning.is_none_or(|last| last.elapsed() >= PAUSE_BETWEEN_WARNINGS) {
        tracing::warn!(%error, "cannot accept connections; new clients wait");
        *last_warning = Some(Instant::now());
    }
    sleep(PAUSE_AFTER_ERROR).await;
}
