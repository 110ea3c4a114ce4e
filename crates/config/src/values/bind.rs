use std::{fmt, net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parsed;

const UNIX: &str = "unix:";
const SYSTEMD: &str = "systemd:";

/// Where a listener has its connections from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(with = "String")]
pub enum Bind {
    /// An IP address and a port; with port 0 the system chooses one.
    Tcp(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
    /// The sockets that the service manager hands over under this name, or the one with this number, counted from zero.
    Systemd(String),
}

impl Bind {
    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return (!path.is_empty()).then(|| Self::Unix(path.into()));
        }
        if let Some(name) = text.strip_prefix(SYSTEMD) {
            let is_name = |text: &str| text.chars().all(|each| each.is_ascii_graphic() && each != ':');
            return (!name.is_empty() && is_name(name)).then(|| Self::Systemd(name.to_owned()));
        }
        text.parse().ok().map(Self::Tcp)
    }

    /// Whether two listeners can have this without sharing it.
    pub(crate) fn is_free_for_all(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
            Self::Systemd(name) => write!(formatter, "{SYSTEMD}{name}"),
        }
    }
}

impl Serialize for Bind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an IP address and a port such as \"127.0.0.1:8008\" or \"[::]:8008\", \"unix:PATH\", or \
                        \"systemd:NAME\"";
        parsed(deserializer, expected, Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::Bind;

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in ["127.0.0.1:8008", "[::]:0", "unix:/run/a b.sock", "unix:http.sock", "systemd:client", "systemd:0"]
        {
            assert_eq!(Bind::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "8008", "localhost:8008", "unix:", "systemd:", "systemd:a b", "systemd:a:b"] {
            assert_eq!(Bind::parse(text), None, "{text}");
        }
    }
}
