//! Where a request comes from.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

/// The TCP peer of a connection. Whoever serves the router puts it into the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// The address of the client, if it is known. Behind a reverse proxy on the same machine it is what that proxy
/// wrote last into `X-Forwarded-For`; from anywhere else the header is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl ClientAddress {
    /// The address of the client that sent a request with these parts.
    pub fn of(parts: &Parts) -> Self {
        let peer = parts.extensions.get::<PeerAddress>().map(|peer| peer.0.ip().to_canonical());
        if peer.is_none_or(|peer| peer.is_loopback())
            && let Some(forwarded) = forwarded_for(&parts.headers)
        {
            return Self(Some(forwarded));
        }
        Self(peer)
    }
}

fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn seen(peer: &str, forwarded: &str) -> String {
        let request =
            Request::builder().header("x-forwarded-for", forwarded).extension(PeerAddress(peer.parse().unwrap()));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        ClientAddress::of(&parts).0.unwrap().to_string()
    }

    #[test]
    fn only_a_proxy_on_the_same_machine_is_believed() {
        assert_eq!(seen("127.0.0.1:5", "6.6.6.6, 10.0.0.7"), "10.0.0.7");
        assert_eq!(seen("127.0.0.1:5", "nonsense"), "127.0.0.1");
        assert_eq!(seen("203.0.113.9:5", "10.0.0.7"), "203.0.113.9");
    }
}
