use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Uri;
use ruma::ServerName;
use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::Service;

use super::address::is_public;
use super::stream::Stream;
use crate::discovery::{Discovery, Host, Target};

/// For looking a name up and reaching one of its addresses, each.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses that are tried for one connection.
const MAX_ADDRESSES: usize = 6;

/// Connects to other machines over TLS.
#[derive(Clone)]
pub struct Dialler {
    tls: TlsConnector,
    allows_private: bool,
}

impl Dialler {
    /// Checks certificates by `tls`. Without `allows_private` it connects to no address of a private network that others name.
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>, allows_private: bool) -> Self {
        Self { tls: TlsConnector::from(tls), allows_private }
    }

    /// Connects to the first target that answers, which has to have a certificate for `name`.
    pub(super) async fn connect(&self, targets: &[Target], name: &Host) -> io::Result<Stream> {
        let refused = || io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is no name of the DNS"));
        let certificate_name = name.to_certificate_name().ok_or_else(refused)?;
        let stream = self.reach(targets).await?;
        // What is small is sent at once.
        stream.set_nodelay(true)?;
        match timeout(HANDSHAKE_TIMEOUT, self.tls.connect(certificate_name, stream)).await {
            Ok(stream) => Ok(Stream::new(stream?)),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")),
        }
    }

    async fn reach(&self, targets: &[Target]) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "there is nothing to connect to");
        let mut left = MAX_ADDRESSES;
        for target in targets {
            let addresses = match self.addresses(target).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            for address in addresses.into_iter().take(left) {
                left -= 1;
                match timeout(STEP_TIMEOUT, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => return Ok(stream),
                    Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
                    Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address}: no answer")),
                }
            }
        }
        Err(last)
    }

    /// The addresses of a target that may be connected to.
    async fn addresses(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        let all: Vec<SocketAddr> = match &target.host {
            Host::Address(address) => vec![SocketAddr::new(*address, target.port)],
            Host::Name(name) => match timeout(STEP_TIMEOUT, lookup_host((&**name, target.port))).await {
                Ok(found) => found.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?.collect(),
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{name}: no answer of the DNS"))),
            },
        };
        let may_be_any = self.allows_private || target.is_configured;
        let allowed: Vec<SocketAddr> = all.into_iter().filter(|it| may_be_any || is_public(it.ip())).collect();
        if allowed.is_empty() {
            let sentence = format!("{target} is in a private network (network.allow_private_addresses)");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, sentence));
        }
        Ok(allowed)
    }
}

/// Connects to homeservers by their names, which stand in place of the host in the URIs.
#[derive(Clone)]
pub(crate) struct ServerConnector {
    pub(crate) dialler: Dialler,
    pub(crate) discovery: Arc<Discovery>,
}

impl Service<Uri> for ServerConnector {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { dialler, discovery } = self.clone();
        async move {
            let name = uri.authority().and_then(|name| ServerName::parse(name.as_str()).ok());
            let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a server name"))?;
            let destination = discovery.find(&name).await;
            dialler.connect(&destination.targets, &destination.host).await
        }
        .boxed()
    }
}
