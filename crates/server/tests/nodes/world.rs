use std::{future::Future, time::Duration};

use serde_json::json;
pub(crate) use testing::Follower;
use testing::{ServerProcess, Setting, TestDatabase, User, path_segment};
use tokio::time::timeout;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse-rust");

/// How long anything may take that happens soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Servers on one database.
pub(crate) struct Nodes {
    pub(crate) db: TestDatabase,
    pub(crate) servers: Vec<ServerProcess>,
}

impl Nodes {
    /// So many servers on a new database.
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, &[]).await
    }

    pub(crate) async fn start_with(count: usize, further: &[Setting<'_>]) -> Self {
        Self::start_on(TestDatabase::postgres().await, count, further).await
    }

    pub(crate) async fn start_on(db: TestDatabase, count: usize, further: &[Setting<'_>]) -> Self {
        let mut servers = Vec::new();
        for number in 0..count {
            servers.push(ServerProcess::start_node(PROGRAM, &db, &format!("node{number}"), further).await);
        }
        Self { db, servers }
    }

    /// The user at a server.
    pub(crate) fn at(&self, number: usize, user: &User) -> User {
        user.at(&self.servers[number].client())
    }
}

/// Alice's room with Bob in it, each at a server of their own.
pub(crate) async fn room_of_two(nodes: &Nodes) -> (User, User, String) {
    let alice = nodes.servers[0].register("alice").await;
    let bob = nodes.servers[1].register("bob").await;
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    bob.join(&room_id).await;
    (alice, bob, room_id)
}

pub(crate) fn room_path(room_id: &str, rest: &str) -> String {
    format!("/_matrix/client/v3/rooms/{}/{rest}", path_segment(room_id))
}

/// Fails if it takes too long.
pub(crate) async fn soon<T>(what: &str, doing: impl Future<Output = T>) -> T {
    timeout(PATIENCE, doing).await.unwrap_or_else(|_| panic!("{what}: not in {PATIENCE:?}"))
}
