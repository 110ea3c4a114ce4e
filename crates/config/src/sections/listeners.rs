use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{AddressRange, Bind, SocketMode};

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port; with port 0 the system chooses one, which is logged. "unix:/run/synapse-rust/http.sock" is a
    /// unix socket, for a reverse proxy on this machine, whose X-Forwarded-For is believed. "systemd:NAME" is what the service
    /// manager hands over under this name (FileDescriptorName= of a socket unit), "systemd:0" the first of all.
    pub bind: Bind,
    /// Of a "unix:" socket alone: the mode of its file, "0660" if not given. Who may write to it may connect.
    #[schemars(example = "0660")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SocketMode>,
    /// What is served there; by default everything.
    #[serde(default = "everything")]
    pub resources: BTreeSet<Resource>,
    /// Serve HTTPS with this certificate; plain HTTP without it. The files are read again on `SIGHUP`.
    #[schemars(example = serde_json::json!({ "certificate": "cert.pem", "private_key": "key.pem" }))]
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Reverse proxies, by their addresses or ranges of them: what they say about where a request comes from is believed, in
    /// `X-Forwarded-For` or, without that, in `Forwarded`. A proxy must append to the header that it uses, and remove the other.
    /// Limits on addresses need this behind a proxy: without it all clients have the address of the proxy.
    #[schemars(example = ["127.0.0.1", "10.0.0.0/8"])]
    #[serde(default)]
    pub trusted_proxies: Vec<AddressRange>,
}

/// A group of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// The client-server API and `/.well-known`.
    Client,
    /// The server-server API.
    Federation,
    /// Uploads, downloads and thumbnails.
    Media,
    /// The admin API under `/_synapse/admin`.
    Admin,
    /// `/health`.
    Health,
    /// `/metrics` and `/_synapse/metrics`.
    Metrics,
}

/// As in the configuration.
impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Client => "client",
            Self::Federation => "federation",
            Self::Media => "media",
            Self::Admin => "admin",
            Self::Health => "health",
            Self::Metrics => "metrics",
        })
    }
}

/// A certificate for HTTPS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the server's certificate first and the rest of its chain after it.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key.
    pub private_key: PathBuf,
}

impl Resource {
    /// Every resource there is.
    pub const ALL: [Self; 6] = [Self::Client, Self::Federation, Self::Media, Self::Admin, Self::Health, Self::Metrics];
}

impl Default for Listener {
    fn default() -> Self {
        let bind = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8008);
        let everything = everything();
        Self { bind: Bind::Tcp(bind), mode: None, resources: everything, tls: None, trusted_proxies: Vec::new() }
    }
}

fn everything() -> BTreeSet<Resource> {
    Resource::ALL.into()
}
