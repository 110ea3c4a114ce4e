use std::{future::Future, time::Duration};

use serde_json::{Value, json};
use testing::{ServerProcess, Setting, TestDatabase, User, path_segment};
use tokio::time::{sleep, timeout};

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

/// A long poll that goes on from answer to answer.
pub(crate) struct Follower {
    user: User,
    since: String,
    /// Whether it asks again when the database cannot be reached.
    is_patient: bool,
}

impl Follower {
    /// Begins with what there is now.
    pub(crate) async fn start(user: User) -> Self {
        let first = user.sync(None, 0).await;
        let since = first["next_batch"].as_str().unwrap().to_owned();
        Self { user, since, is_patient: false }
    }

    /// The same, who asks again when the database cannot be reached.
    pub(crate) fn patient(self) -> Self {
        Self { is_patient: true, ..self }
    }

    /// Goes on at another server.
    pub(crate) fn go_to(&mut self, user: User) {
        self.user = user;
    }

    /// What `look` finds in one of the next answers.
    pub(crate) async fn sees<T>(&mut self, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        let looking = async {
            loop {
                let path = format!("/_matrix/client/v3/sync?timeout=20000&since={}", path_segment(&self.since));
                let answer = self.user.get(path).await;
                if self.is_patient && answer.status == 503 {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
                let answer = answer.ok();
                answer["next_batch"].as_str().unwrap().clone_into(&mut self.since);
                if let Some(found) = look(&answer) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{what} is not seen"))
    }

    /// Waits for a message in a room, and returns what the answer has of the room.
    pub(crate) async fn sees_message(&mut self, room_id: &str, body: &str) -> Value {
        let look = |answer: &Value| {
            let room = &answer["rooms"]["join"][room_id];
            let events = room["timeline"]["events"].as_array()?;
            events.iter().any(|event| event["content"]["body"] == body).then(|| room.clone())
        };
        self.sees(body, look).await
    }

    /// Waits for an event of this type among those of a room that are not kept.
    pub(crate) async fn sees_ephemeral(&mut self, room_id: &str, event_type: &str, is_it: impl Fn(&Value) -> bool) {
        let look = |answer: &Value| {
            let events = answer["rooms"]["join"][room_id]["ephemeral"]["events"].as_array()?;
            events.iter().any(|event| event["type"] == event_type && is_it(&event["content"])).then_some(())
        };
        self.sees(event_type, look).await;
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
