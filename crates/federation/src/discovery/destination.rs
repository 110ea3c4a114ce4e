use std::fmt;
use std::net::IpAddr;

use homeserver_core::{HeapSize, allocation_bytes};
use ruma::ServerName;
use rustls::pki_types::{self, DnsName};

use super::USUAL_PORT;

/// Where a server is, and how it shows that it is the right one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// What to send as `Host`.
    pub host_header: Box<str>,
    /// For whom the certificate has to be.
    pub host: Host,
    /// Where to connect to, one after the other until one answers.
    pub targets: Box<[Target]>,
}

/// A place to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The machine.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// Whether the operator has named it, who may name machines of private networks.
    pub is_configured: bool,
}

/// A machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// By its address.
    Address(IpAddr),
    /// By its name.
    Name(Box<str>),
}

impl Host {
    /// Reads a host as it stands in URLs and server names: IPv6 addresses are in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        inner.parse().map_or_else(|_| Self::Name(text.to_ascii_lowercase().into()), Self::Address)
    }

    /// The same for certificates; `None` for what is no name of the DNS.
    pub(crate) fn to_certificate_name(&self) -> Option<pki_types::ServerName<'static>> {
        match self {
            Self::Address(address) => Some(pki_types::ServerName::IpAddress((*address).into())),
            Self::Name(name) => Some(pki_types::ServerName::DnsName(DnsName::try_from(name.to_string()).ok()?)),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]:{}", self.port)?,
            host => write!(formatter, "{host}:{}", self.port)?,
        }
        if self.is_configured { formatter.write_str(" (configured)") } else { Ok(()) }
    }
}

impl Destination {
    /// A server that is where its name says.
    pub(super) fn named(server: &ServerName) -> Self {
        Self::new(server, [target(server)])
    }

    /// A server that is where the operator says.
    pub(super) fn configured(server: &ServerName, address: &ServerName) -> Self {
        Self::new(server, [Target { is_configured: true, ..target(address) }])
    }

    /// A server that is where its SRV record says.
    pub(super) fn by_record(server: &ServerName, targets: Vec<(String, u16)>) -> Self {
        let target = |(host, port): (String, u16)| Target { host: Host::parse(&host), port, is_configured: false };
        Self::new(server, targets.into_iter().map(target))
    }

    fn new(server: &ServerName, targets: impl IntoIterator<Item = Target>) -> Self {
        Self {
            host_header: server.as_str().into(),
            host: Host::parse(server.host()),
            targets: targets.into_iter().collect(),
        }
    }
}

fn target(server: &ServerName) -> Target {
    Target { host: Host::parse(server.host()), port: server.port().unwrap_or(USUAL_PORT), is_configured: false }
}

impl HeapSize for Host {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Address(_) => 0,
            Self::Name(name) => name.heap_bytes(),
        }
    }
}

impl HeapSize for Destination {
    fn heap_bytes(&self) -> usize {
        let targets: usize = self.targets.iter().map(|target| target.host.heap_bytes()).sum();
        let list = allocation_bytes(size_of_val(&*self.targets));
        self.host_header.heap_bytes() + self.host.heap_bytes() + list + targets
    }
}
