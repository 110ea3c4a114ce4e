use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

use super::address::is_public;
use super::stream::Stream;
use crate::discovery::{Host, Target};

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

/// Connects to where URIs lead.
pub(crate) type Connector = BoxCloneSyncService<Uri, Stream, io::Error>;

/// A connector that finds out by `find` what a URI means: the targets, and the name that their certificate must have.
pub(crate) fn connector<F, D>(dialler: Dialler, find: F) -> Connector
where
    F: Fn(Uri) -> D + Clone + Send + Sync + 'static,
    D: Future<Output = io::Result<(Box<[Target]>, Host)>> + Send + 'static,
{
    BoxCloneSyncService::new(service_fn(move |uri| {
        let (found, dialler) = (find(uri), dialler.clone());
        async move {
            let (targets, host) = found.await?;
            dialler.connect(&targets, &host).await
        }
    }))
}
