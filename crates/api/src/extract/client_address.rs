//! Where a request comes from.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::FORWARDED;
use http::request::Parts;
use ipnet::IpNet;

/// The peer of a connection. The listener puts it into the extensions of every request.
#[derive(Clone, Debug)]
pub struct PeerAddress {
    /// The peer: a client, or a proxy. None on a unix socket, which only a proxy on this machine is allowed to use.
    pub address: Option<SocketAddr>,
    /// The proxies that this listener trusts.
    pub trusted_proxies: Arc<TrustedProxies>,
}

/// Proxies whose word about where requests come from is taken.
#[derive(Default, Debug)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    /// Whether the log has told of a proxy that is not trusted.
    has_told: AtomicBool,
}

impl TrustedProxies {
    /// The proxies with addresses in these ranges.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self { networks: networks.into_iter().collect(), has_told: AtomicBool::new(false) }
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Tells the operator once what makes all clients behind a proxy look like one. Only of proxies on this machine: from anywhere
    /// else the header may be a client's.
    fn tell_of_untrusted(&self, proxy: IpAddr, headers: &HeaderMap) {
        let is_proxy = proxy.is_loopback() && headers.contains_key("x-forwarded-for");
        if is_proxy && !self.has_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %proxy,
                "X-Forwarded-For of a proxy on this machine is ignored, and its clients count as one: name it in \
                 trusted_proxies of the listener if it is to be believed"
            );
        }
    }
}

/// The address of the client, if it is known: that of the TCP peer, unless this is a trusted proxy or one on a unix socket.
///
/// What a proxy says in `X-Forwarded-For` or, without that header, in `Forwarded` is walked from its end, where the nearest hop
/// stands, as long as the hops are trusted proxies too. The first one that is not is the client: everything before it is only
/// what the client says.
///
/// <https://www.rfc-editor.org/rfc/rfc7239>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl ClientAddress {
    /// The address of the client that sent a request with these parts.
    pub fn of(parts: &Parts) -> Self {
        let Some(peer) = parts.extensions.get::<PeerAddress>() else { return Self(None) };
        let mut client = peer.address.map(|address| address.ip().to_canonical());
        if let Some(address) = client.filter(|address| !peer.trusted_proxies.trust(*address)) {
            peer.trusted_proxies.tell_of_untrusted(address, &parts.headers);
            return Self(Some(address));
        }
        for hop in hops(&parts.headers) {
            // Behind something that is no address, such as `unknown`, nothing is certain any more.
            let Some(hop) = hop.and_then(address) else { break };
            client = Some(hop);
            if !peer.trusted_proxies.trust(hop) {
                break;
            }
        }
        Self(client)
    }
}

/// The hops before the peer, the nearest one first; `None` for one that is unreadable.
fn hops(headers: &HeaderMap) -> Box<dyn Iterator<Item = Option<&str>> + '_> {
    if headers.contains_key("x-forwarded-for") {
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        return Box::new(lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',').map(Some)));
    }
    let lines = headers.get_all(FORWARDED).iter().rev();
    Box::new(lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',').map(forwarded_for)))
}

/// The value of `for` in one element of a `Forwarded` header. No value of ours has a comma or a semicolon in quotes.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// An address with or without a port, the one of IPv6 also in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    bare().or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
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

    fn seen(peer: &str, trusted: &[&str], headers: &[(&str, &str)]) -> String {
        let trusted_proxies = Arc::new(TrustedProxies::new(trusted.iter().map(|network| network.parse().unwrap())));
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(PeerAddress { address: peer.parse().ok(), trusted_proxies });
        let (parts, ()) = request.body(()).unwrap().into_parts();
        ClientAddress::of(&parts).0.map_or("unknown".to_owned(), |address| address.to_string())
    }

    const LOCAL: &[&str] = &["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"];

    #[test]
    fn without_trusted_proxies_no_header_is_believed() {
        for header in [("x-forwarded-for", "10.0.0.7"), ("forwarded", "for=10.0.0.7")] {
            assert_eq!(seen("127.0.0.1:5", &[], &[header]), "127.0.0.1");
            assert_eq!(seen("203.0.113.9:5", LOCAL, &[header]), "203.0.113.9");
        }
    }

    #[test]
    fn the_last_hop_that_no_trusted_proxy_stands_for_is_the_client() {
        let forwarded_for = |text| seen("127.0.0.1:5", LOCAL, &[("x-forwarded-for", text)]);
        assert_eq!(forwarded_for("203.0.113.9"), "203.0.113.9");
        assert_eq!(forwarded_for("6.6.6.6, 203.0.113.9"), "203.0.113.9");
        assert_eq!(forwarded_for("6.6.6.6, 203.0.113.9,10.0.0.7 , 10.0.0.8"), "203.0.113.9");
        assert_eq!(forwarded_for("10.0.0.6, 10.0.0.7"), "10.0.0.6");
        assert_eq!(forwarded_for("6.6.6.6, unknown, 10.0.0.7"), "10.0.0.7");
        assert_eq!(forwarded_for("nonsense"), "127.0.0.1");
        assert_eq!(forwarded_for(""), "127.0.0.1");
    }

    #[test]
    fn the_peer_on_a_unix_socket_is_a_proxy() {
        assert_eq!(seen("unix", &[], &[("x-forwarded-for", "6.6.6.6, 203.0.113.9")]), "203.0.113.9");
        assert_eq!(seen("unix", LOCAL, &[("x-forwarded-for", "203.0.113.9, 10.0.0.7")]), "203.0.113.9");
        assert_eq!(seen("unix", LOCAL, &[]), "unknown");
    }

    #[test]
    fn addresses_are_read_with_ports_and_in_brackets() {
        let forwarded_for = |text| seen("[::ffff:127.0.0.1]:5", LOCAL, &[("x-forwarded-for", text)]);
        assert_eq!(forwarded_for("203.0.113.9:4711"), "203.0.113.9");
        assert_eq!(forwarded_for("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(forwarded_for("[2001:db8::1]"), "2001:db8::1");
        assert_eq!(forwarded_for("2001:db8::1, fd00::1"), "2001:db8::1");
        assert_eq!(forwarded_for("::ffff:203.0.113.9"), "203.0.113.9");
    }

    #[test]
    fn several_lines_of_a_header_are_one_list() {
        let lines = [("x-forwarded-for", "6.6.6.6, 203.0.113.9"), ("x-forwarded-for", "10.0.0.7")];
        assert_eq!(seen("127.0.0.1:5", LOCAL, &lines), "203.0.113.9");
    }

    #[test]
    fn the_standard_header_is_read_where_the_usual_one_is_missing() {
        let forwarded = |text| seen("127.0.0.1:5", LOCAL, &[("forwarded", text)]);
        assert_eq!(forwarded("for=203.0.113.9"), "203.0.113.9");
        assert_eq!(
            forwarded("for=6.6.6.6, proto=https;For=\"203.0.113.9:80\";by=10.0.0.7, for=10.0.0.7"),
            "203.0.113.9"
        );
        assert_eq!(forwarded("for=\"[2001:db8::1]:4711\""), "2001:db8::1");
        assert_eq!(forwarded("for=6.6.6.6, for=_hidden"), "127.0.0.1");
        assert_eq!(forwarded("for=6.6.6.6, by=10.0.0.7"), "127.0.0.1");
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(seen("127.0.0.1:5", LOCAL, &both), "203.0.113.9");
    }
}
