//! This server and another one, over HTTP and TLS, on both databases.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod asked;
mod asked_keys;
mod asking;
mod device_lists;
mod media;
mod notary;
mod openid;
mod outbox;
mod received;
mod remote_user;

use testing::{RemoteServer, Setting, TestDatabase, TestServer};

const V3: &str = "/_matrix/client/v3";
const KEYS: &str = "/_matrix/key/v2/server";

async fn metrics(server: &TestServer) -> String {
    let answer = server.client().get("/metrics").await;
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// A server of the name `localhost`, and another one that it knows.
async fn servers(db: &TestDatabase, further: &[Setting<'_>]) -> (TestServer, RemoteServer) {
    let remote = RemoteServer::start("remote.example").await;
    let mut settings = remote.settings();
    settings.extend_from_slice(further);
    (TestServer::start_with(db, &settings).await, remote)
}
