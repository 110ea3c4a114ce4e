//! Several homeservers in one process, each at an address of its own, that know and trust each other.

use std::net::Ipv4Addr;
use std::ops::Index;

use rand::Rng as _;
use serde_json::{Value, json};
use testing::{Answer, RemoteServer, Setting, TestAuthority, TestDatabase, TestServer, User, eventually, path_segment};
use toml::{Table, toml};

pub(crate) const V3: &str = "/_matrix/client/v3";

/// Homeservers that find each other: `hs1.test`, `hs2.test` and so on.
pub(crate) struct Network {
    homeservers: Vec<Homeserver>,
    authority: TestAuthority,
    addresses: Table,
    further: Vec<Setting<'static>>,
    is_on_postgres: bool,
}

/// One homeserver of a network, with a database of its own.
pub(crate) struct Homeserver {
    pub(crate) name: String,
    db: TestDatabase,
    settings: Vec<Setting<'static>>,
    server: Option<TestServer>,
}

impl Network {
    /// So many homeservers, each on a database of the kind of `db`.
    pub(crate) async fn start(db: &TestDatabase, count: usize) -> Self {
        Self::start_with(db, count, &[], &[]).await
    }

    /// The same with `further` settings of all, which know `strangers` too.
    pub(crate) async fn start_with(
        db: &TestDatabase,
        count: usize,
        strangers: &[&RemoteServer],
        further: &[Setting<'static>],
    ) -> Self {
        let authority = TestAuthority::new();
        let mut addresses = Table::new();
        let mut trusted = vec![authority.certificate().display().to_string()];
        for stranger in strangers {
            addresses.insert(stranger.name().to_owned(), format!("127.0.0.1:{}", stranger.port()).into());
            trusted.push(stranger.certificate().display().to_string());
        }
        for number in 1..=count {
            addresses.insert(format!("hs{number}.test"), format!("{}:8448", unused_address()).into());
        }
        let mut further = further.to_vec();
        further.push(("network", "trusted_ca", trusted.into()));
        let is_on_postgres = db.is_postgres();
        let mut network = Self { homeservers: Vec::new(), authority, addresses, further, is_on_postgres };
        for number in 1..=count {
            network.add(&format!("hs{number}.test")).await;
        }
        network
    }

    async fn add(&mut self, name: &str) {
        let (certificate, private_key) = self.authority.certify(name);
        let address = self.addresses[name].as_str().unwrap().to_owned();
        let mut listener = toml! { resources = ["federation"] };
        listener.insert("bind".to_owned(), address.into());
        let tls = [("certificate", certificate), ("private_key", private_key)];
        let tls = tls.map(|(key, file)| (key.to_owned(), file.display().to_string().into()));
        listener.insert("tls".to_owned(), Table::from_iter(tls).into());
        let mut settings = vec![
            ("server", "name", name.to_owned().into()),
            ("listeners", "further", listener.into()),
            ("federation", "server_addresses", self.addresses.clone().into()),
        ];
        settings.extend_from_slice(&self.further);
        self.homeservers.push(Homeserver::started(name.to_owned(), self.is_on_postgres, settings).await);
    }

    pub(crate) fn get_mut(&mut self, number: usize) -> &mut Homeserver {
        &mut self.homeservers[number]
    }

    /// Stops all of them at once.
    pub(crate) async fn shutdown(self) {
        let running = self.homeservers.into_iter().filter_map(|mut homeserver| homeserver.server.take());
        futures::future::join_all(running.map(TestServer::shutdown)).await;
    }
}

impl Index<usize> for Network {
    type Output = Homeserver;

    fn index(&self, number: usize) -> &Homeserver {
        &self.homeservers[number]
    }
}

impl Homeserver {
    /// A running one, on a new database of its own.
    pub(crate) async fn started(name: String, is_on_postgres: bool, settings: Vec<Setting<'static>>) -> Self {
        let db = if is_on_postgres { TestDatabase::postgres().await } else { TestDatabase::sqlite() };
        let mut homeserver = Self { name, db, settings, server: None };
        homeserver.start().await;
        homeserver
    }

    pub(crate) fn is_running(&self) -> bool {
        self.server.is_some()
    }

    /// Starts it, at the same address as before.
    pub(crate) async fn start(&mut self) {
        self.server = Some(TestServer::start_with(&self.db, &self.settings).await);
    }

    /// Stops it. Others cannot reach it until it is started again.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            Box::pin(server.shutdown()).await;
        }
    }

    pub(crate) fn running(&self) -> &TestServer {
        self.server.as_ref().unwrap()
    }

    pub(crate) async fn register(&self, name: &str) -> User {
        self.running().register(name).await
    }

    /// The user again, after the homeserver was started again.
    pub(crate) fn again(&self, user: &User) -> User {
        user.at(&self.running().client())
    }
}

/// Nearly certainly nobody listens there: all addresses that begin with 127 are this machine.
pub(crate) fn unused_address() -> Ipv4Addr {
    let mut random = rand::rng();
    Ipv4Addr::new(127, random.random_range(1..255), random.random(), random.random_range(1..255))
}

pub(crate) fn room_path(room_id: &str, rest: &str) -> String {
    format!("{V3}/rooms/{}/{rest}", path_segment(room_id))
}

/// Joins a room by way of other homeservers.
pub(crate) async fn join_via(user: &User, room: &str, via: &[&Homeserver]) -> Answer {
    enter_via(user, "join", room, via, json!({})).await
}

/// The same with `join` or `knock`, and a body.
pub(crate) async fn enter_via(user: &User, how: &str, room: &str, via: &[&Homeserver], body: Value) -> Answer {
    let via: Vec<String> = via.iter().map(|homeserver| format!("via={}", homeserver.name)).collect();
    user.post(format!("{V3}/{how}/{}?{}", path_segment(room), via.join("&"))).json(&body).await
}

/// The membership of a user, as the state of the room says at the homeserver of `reader`.
pub(crate) async fn membership(reader: &User, room_id: &str, user_id: &str) -> Option<String> {
    let path = room_path(room_id, &format!("state/m.room.member/{}", path_segment(user_id)));
    let answer = reader.get(path).await;
    assert!(matches!(answer.status.as_u16(), 200 | 404), "{answer}");
    answer.json["membership"].as_str().map(ToOwned::to_owned)
}

/// Waits until a user's membership is the expected one for somebody else.
pub(crate) async fn becomes(reader: &User, room_id: &str, user: &User, expected: &str) {
    eventually(&format!("{} is {expected}", user.id), async || {
        (membership(reader, room_id, &user.id).await.as_deref() == Some(expected)).then_some(())
    })
    .await;
}
