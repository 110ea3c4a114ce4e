//! Where a server is, given its name.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>

mod destination;
mod dns;
mod system;
mod well_known;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use homeserver_core::{Cache, MemoryBudget};
use ruma::{OwnedServerName, ServerName};

pub use self::destination::{Destination, Host, Target};
pub use self::system::SystemLookups;

/// The port of servers that name no other.
const USUAL_PORT: u16 = 8448;
/// How long it is believed that there is no `/.well-known`.
const NO_WELL_KNOWN: Duration = Duration::from_mins(10);
/// How long it is believed what the DNS says. Its own times are kept by whoever asks it.
const NAMES: Duration = Duration::from_hours(1);

/// What discovery asks others.
pub trait Lookups: Send + Sync {
    /// To where a host sends those who look for its homeserver, and for how long that can be believed. Whatever is wrong with
    /// the answer, it is as if there were none.
    fn well_known<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Option<(OwnedServerName, Duration)>>;

    /// The targets of an SRV record, in the order in which they are to be tried.
    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<(String, u16)>>;
}

/// Finds servers, and remembers where they are.
pub struct Discovery {
    lookups: Arc<dyn Lookups>,
    addresses: BTreeMap<OwnedServerName, OwnedServerName>,
    found: Cache<String, Arc<Destination>>,
}

impl Discovery {
    /// Discovery by `lookups`. The servers in `addresses` are where the operator says that they are.
    #[must_use]
    pub fn new(
        lookups: Arc<dyn Lookups>,
        addresses: BTreeMap<OwnedServerName, OwnedServerName>,
        memory: &MemoryBudget,
    ) -> Self {
        Self { lookups, addresses, found: Cache::new(memory, "server_destinations") }
    }

    /// Where a server is. There is always an answer, but nobody need be there.
    pub async fn find(&self, server: &ServerName) -> Arc<Destination> {
        if let Some(address) = self.addresses.get(server) {
            return Arc::new(Destination::configured(server, address));
        }
        if server.is_ip_literal() || server.port().is_some() {
            return Arc::new(Destination::named(server));
        }
        if let Some(found) = self.found.get(server.as_str()) {
            return found;
        }
        let looked_up = async {
            let (destination, time_to_live) = self.look_up(server).await;
            Ok::<_, Infallible>((Arc::new(destination), Some(time_to_live)))
        };
        let Ok(found) = self.found.load_for(server.as_str(), looked_up).await;
        found
    }

    async fn look_up(&self, server: &ServerName) -> (Destination, Duration) {
        let (delegated, time_to_live) = match self.lookups.well_known(server.host()).await {
            None => (server.to_owned(), NO_WELL_KNOWN),
            Some(delegated) => delegated,
        };
        if delegated.is_ip_literal() || delegated.port().is_some() {
            return (Destination::named(&delegated), time_to_live);
        }
        for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
            let targets = self.lookups.srv(&format!("{service}.{}.", delegated.host())).await;
            if !targets.is_empty() {
                return (Destination::by_record(&delegated, targets), time_to_live.min(NAMES));
            }
        }
        (Destination::named(&delegated), time_to_live.min(NAMES))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use parking_lot::Mutex;

    use super::*;

    /// What is known in a test, and what was asked.
    #[derive(Default)]
    struct Known {
        well_known: BTreeMap<&'static str, &'static str>,
        srv: BTreeMap<&'static str, Vec<(&'static str, u16)>>,
        asked: Mutex<Vec<String>>,
    }

    impl Lookups for Known {
        fn well_known<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Option<(OwnedServerName, Duration)>> {
            self.asked.lock().push(host.to_owned());
            let found = self.well_known.get(host);
            let found = found.map(|name| (ServerName::parse(*name).unwrap(), Duration::from_mins(5)));
            futures::future::ready(found).boxed()
        }

        fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<(String, u16)>> {
            self.asked.lock().push(name.to_owned());
            let found = self.srv.get(name).cloned().unwrap_or_default();
            futures::future::ready(found.into_iter().map(|(host, port)| (host.to_owned(), port)).collect()).boxed()
        }
    }

    /// The `Host` header, the name on the certificate, and the targets of a server.
    async fn found(known: Arc<Known>, name: &str) -> (String, String, Vec<String>) {
        let configured = BTreeMap::from([
            (ServerName::parse("static.example").unwrap(), ServerName::parse("10.0.0.1:9000").unwrap()),
            (ServerName::parse("moved.example:8449").unwrap(), ServerName::parse("inner.example").unwrap()),
        ]);
        let discovery = Discovery::new(known, configured, &MemoryBudget::default());
        let destination = discovery.find(&ServerName::parse(name).unwrap()).await;
        let targets = destination.targets.iter().map(ToString::to_string).collect();
        (destination.host_header.to_string(), destination.host.to_string(), targets)
    }

    fn known() -> Arc<Known> {
        Arc::new(Known {
            well_known: BTreeMap::from([
                ("to-ip.example", "192.0.2.1"),
                ("to-ip-port.example", "[2001:db8::1]:443"),
                ("to-port.example", "matrix.example:443"),
                ("to-name.example", "matrix.example"),
                ("to-record.example", "recorded.example"),
            ]),
            srv: BTreeMap::from([
                ("_matrix-fed._tcp.recorded.example.", vec![("a.example", 1), ("b.example", 2)]),
                ("_matrix._tcp.recorded.example.", vec![("old.example", 3)]),
                ("_matrix._tcp.old-record.example.", vec![("old.example", 3)]),
            ]),
            asked: Mutex::default(),
        })
    }

    #[tokio::test]
    async fn every_way_of_the_specification_leads_to_a_server() {
        for (name, host, certificate, targets) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.7", &["192.0.2.7:8448"][..]),
            ("[2001:db8::7]:80", "[2001:db8::7]:80", "2001:db8::7", &["[2001:db8::7]:80"]),
            ("plain.example:8449", "plain.example:8449", "plain.example", &["plain.example:8449"]),
            ("to-ip.example", "192.0.2.1", "192.0.2.1", &["192.0.2.1:8448"]),
            ("to-ip-port.example", "[2001:db8::1]:443", "2001:db8::1", &["[2001:db8::1]:443"]),
            ("to-port.example", "matrix.example:443", "matrix.example", &["matrix.example:443"]),
            ("to-record.example", "recorded.example", "recorded.example", &["a.example:1", "b.example:2"]),
            ("to-name.example", "matrix.example", "matrix.example", &["matrix.example:8448"]),
            ("recorded.example", "recorded.example", "recorded.example", &["a.example:1", "b.example:2"]),
            ("old-record.example", "old-record.example", "old-record.example", &["old.example:3"]),
            ("nothing.example", "nothing.example", "nothing.example", &["nothing.example:8448"]),
            ("static.example", "static.example", "static.example", &["10.0.0.1:9000 (configured)"]),
            ("moved.example:8449", "moved.example:8449", "moved.example", &["inner.example:8448 (configured)"]),
        ] {
            let expected =
                (host.to_owned(), certificate.to_owned(), targets.iter().map(|it| (*it).to_owned()).collect());
            assert_eq!(found(known(), name).await, expected, "{name}");
        }
    }

    #[tokio::test]
    async fn nobody_is_asked_more_than_necessary() {
        let asked = async |name: &str| {
            let known = known();
            found(known.clone(), name).await;
            known.asked.lock().clone()
        };
        for name in ["192.0.2.7", "plain.example:8449", "static.example"] {
            assert!(asked(name).await.is_empty(), "{name}");
        }
        assert_eq!(asked("to-port.example").await, ["to-port.example"]);
        assert_eq!(asked("to-record.example").await, ["to-record.example", "_matrix-fed._tcp.recorded.example."]);

        let known = known();
        let discovery = Discovery::new(known.clone(), BTreeMap::new(), &MemoryBudget::default());
        for _ in 0..2 {
            discovery.find(&ServerName::parse("to-port.example").unwrap()).await;
        }
        assert_eq!(known.asked.lock().len(), 1, "an answer is remembered");
    }

    /// Answers after a while.
    struct Slow(Arc<Known>);

    impl Lookups for Slow {
        fn well_known<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Option<(OwnedServerName, Duration)>> {
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.0.well_known(host).await
            }
            .boxed()
        }

        fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<(String, u16)>> {
            self.0.srv(name)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_look_for_a_server_one_asks() {
        let known = known();
        let discovery = Discovery::new(Arc::new(Slow(known.clone())), BTreeMap::new(), &MemoryBudget::default());
        let name = ServerName::parse("to-port.example").unwrap();
        let found = futures::future::join_all((0..10).map(|_| discovery.find(&name))).await;
        assert!(found.iter().all(|it| *it.host_header == *"matrix.example:443"));
        assert_eq!(known.asked.lock().len(), 1);
    }
}
