//! Homeservers that hear of each other only by links.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::json;
use testing::{TestAuthority, TestDatabase, User};
use toml::{Table, toml};

use super::links::Link;
use crate::world::{Homeserver, unused_address};

/// So many homeservers share rooms.
pub(super) const SERVERS: usize = 3;
/// How long a homeserver may take to come up.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Homeservers `hs1.test` and so on, each with a link to every other one.
pub(super) struct Cluster {
    pub(super) servers: Vec<Homeserver>,
    links: BTreeMap<(usize, usize), Arc<Link>>,
    /// An administrator at each.
    administrators: Vec<User>,
    _authority: TestAuthority,
}

impl Cluster {
    /// Starts them, each on a database of the kind of `db`.
    pub(super) async fn start(db: &TestDatabase, random: &mut StdRng) -> Self {
        let authority = TestAuthority::new();
        let names: Vec<String> = (1..=SERVERS).map(|number| format!("hs{number}.test")).collect();
        let addresses: Vec<String> = names.iter().map(|_| format!("{}:8448", unused_address())).collect();
        let mut links = BTreeMap::new();
        for from in 0..SERVERS {
            for to in (0..SERVERS).filter(|to| *to != from) {
                let target = format!("http://{}", addresses[to]);
                links.insert((from, to), Link::open(&authority, &names[to], &target, random.random()).await);
            }
        }
        let trusted = authority.certificate().display().to_string();
        let starting = (0..SERVERS).map(|number| {
            let mut listener = toml! { resources = ["federation"] };
            listener.insert("bind".to_owned(), addresses[number].clone().into());
            let others = links.iter().filter(|((from, _), _)| *from == number);
            let others = others.map(|((_, to), link)| (names[*to].clone(), link.address().to_string().into()));
            let settings = vec![
                ("server", "name", names[number].clone().into()),
                ("listeners", "further", listener.into()),
                ("federation", "server_addresses", Table::from_iter(others).into()),
                ("network", "trusted_ca", vec![trusted.clone()].into()),
            ];
            Homeserver::started(names[number].clone(), db.is_postgres(), settings)
        });
        let servers = tokio::time::timeout(START_LIMIT, futures::future::join_all(starting)).await.unwrap();
        let administrators = futures::future::join_all(servers.iter().map(administrator)).await;
        Self { servers, links, administrators, _authority: authority }
    }

    /// What one homeserver says to another one.
    pub(super) fn link(&self, from: usize, to: usize) -> &Link {
        &self.links[&(from, to)]
    }

    /// The links between two homeservers, there and back.
    pub(super) fn between(&self, one: usize, other: usize) -> impl Iterator<Item = &Link> {
        [(one, other), (other, one)].into_iter().filter_map(|pair| self.links.get(&pair)).map(AsRef::as_ref)
    }

    pub(super) fn be_faulty(&self, is_faulty: bool) {
        self.links.values().for_each(|link| link.be_faulty(is_faulty));
    }

    pub(super) fn running(&self) -> usize {
        self.servers.iter().filter(|server| server.is_running()).count()
    }

    /// Mends everything, and has the homeservers try each other at once.
    pub(super) async fn heal(&mut self) {
        self.be_faulty(false);
        self.links.values().for_each(|link| link.mend());
        for server in self.servers.iter_mut().filter(|server| !server.is_running()) {
            server.start().await;
        }
        for (server, administrator) in self.servers.iter().zip(&self.administrators) {
            let administrator = server.again(administrator);
            for other in self.servers.iter().filter(|other| other.name != server.name) {
                let path = format!("/_synapse/admin/v1/federation/destinations/{}/reset_connection", other.name);
                // One that has been reached refuses.
                administrator.post(path).json(&json!({})).await;
            }
        }
    }

    /// Stops all of them.
    pub(super) async fn shutdown(mut self) {
        futures::future::join_all(self.servers.iter_mut().map(Homeserver::stop)).await;
        self.links.values().for_each(|link| link.close());
    }
}

/// The first account, which has the token for it.
async fn administrator(server: &Homeserver) -> User {
    let token = server.running().first_account_token().await.unwrap();
    let client = server.running().client();
    let path = "/_matrix/client/v3/register";
    let mut request = json!({ "username": "root", "password": "wonderland" });
    let challenge = client.post(path).json(&request).await;
    request["auth"] = json!({
        "type": "m.login.registration_token", "token": token, "session": challenge.json["session"],
    });
    let root = client.post(path).json(&request).await.ok();
    let mut user = server.register("helper").await;
    root["user_id"].as_str().unwrap().clone_into(&mut user.id);
    root["access_token"].as_str().unwrap().clone_into(&mut user.token);
    user
}
