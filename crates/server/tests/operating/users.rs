use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use testing::{Answer, Client, ServerProcess, User, eventually, on_both_databases, path_segment};
use tokio::task::JoinHandle;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse-rust");
const V3: &str = "/_matrix/client/v3";

/// What a command has printed, if it did not fail.
fn printed(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The line by which a command has failed.
fn failed(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

async fn log_in(client: &Client, name: &str, password: &str) -> testing::Answer {
    let identifier = json!({ "type": "m.id.user", "user": name });
    let body = json!({ "type": "m.login.password", "identifier": identifier, "password": password });
    client.post(format!("{V3}/login")).json(&body).await
}

/// A `/sync` of this user that has begun to wait for longer than a test may take.
async fn waiting_sync(user: &User) -> JoinHandle<Answer> {
    let since = user.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
    let request = user.get(format!("{V3}/sync?timeout=60000&since={since}"));
    let waits = tokio::spawn(async move { request.await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waits.is_finished());
    waits
}

async fn session_has_ended(waits: JoinHandle<Answer>) {
    let told = tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap().unwrap();
    told.error(401, "M_UNKNOWN_TOKEN");
}

on_both_databases! {
    async fn users_are_named_by_localpart_or_whole_id(db: TestDatabase) {
        let server = ServerProcess::start(PROGRAM, &db).await;
        let created = printed(server.run(&["user", "create", "--name", "@carol:localhost"]).await);
        let password = created.strip_prefix("Created @carol:localhost with the password ").unwrap().trim_end();
        log_in(&server.client(), "carol", password).await.ok();
        let refused = failed(server.run(&["user", "create", "--name", "@carol:example.org"]).await);
        assert_eq!(refused, "synapse-rust: @carol:example.org is a user of another server: this one is localhost\n");
        let refused = failed(server.run(&["user", "promote", "--name", "@carol:example.org"]).await);
        assert!(refused.contains("another server"), "{refused}");
        for command in [&["user", "password"][..], &["user", "promote"], &["user", "demote"], &["user", "deactivate"]] {
            let arguments: Vec<_> = command.iter().copied().chain(["--name", "nobody"]).collect();
            let refused = failed(server.run(&arguments).await);
            assert_eq!(refused, "synapse-rust: There is no such user on this server\n");
        }
        printed(server.run(&["user", "promote", "--name", "@carol:localhost"]).await);
        server.register("dave").await;
        printed(server.run(&["user", "deactivate", "--name", "dave"]).await);
        let refused = failed(server.run(&["user", "promote", "--name", "dave"]).await);
        assert_eq!(refused, "synapse-rust: This account has been deactivated\n");
        let listed = printed(server.run(&["user", "list"]).await);
        assert_eq!(listed, "@carol:localhost\tadmin\n@dave:localhost\tdeactivated\n");
    }

    async fn a_running_server_notices_another_password(db: TestDatabase) {
        let server = ServerProcess::start(PROGRAM, &db).await;
        let alice = server.register("alice").await;
        let waits = waiting_sync(&alice).await;
        let changed = printed(server.run(&["user", "password", "--name", "alice"]).await);
        let password = changed.strip_prefix("Changed the password of @alice:localhost to ").unwrap().trim_end();
        session_has_ended(waits).await;
        alice.get(format!("{V3}/account/whoami")).await.error(401, "M_UNKNOWN_TOKEN");
        log_in(&server.client(), "alice", "password of alice").await.error(403, "M_FORBIDDEN");
        log_in(&server.client(), "alice", password).await.ok();
    }

    async fn a_sync_that_waits_at_a_running_server_is_told_that_its_account_was_closed(db: TestDatabase) {
        let server = ServerProcess::start(PROGRAM, &db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (waits, kept) = (waiting_sync(&alice).await, waiting_sync(&bob).await);
        printed(server.run(&["user", "deactivate", "--name", "alice"]).await);
        session_has_ended(waits).await;
        alice.get(format!("{V3}/account/whoami")).await.error(401, "M_UNKNOWN_TOKEN");
        assert!(!kept.is_finished());
        bob.get(format!("{V3}/account/whoami")).await.ok();
    }

    async fn a_running_server_notices_who_administers_it(db: TestDatabase) {
        let server = ServerProcess::start(PROGRAM, &db).await;
        let alice = server.register("alice").await;
        let jobs = "/_synapse/admin/v1/background_jobs";
        alice.get(jobs).await.error(403, "M_FORBIDDEN");
        printed(server.run(&["user", "promote", "--name", "alice"]).await);
        let may = async |status: u16| (alice.get(jobs).await.status == status).then_some(());
        eventually("she is an administrator", async || may(200).await).await;
        printed(server.run(&["user", "demote", "--name", "alice"]).await);
        eventually("she is none", async || may(403).await).await;
        // Her session goes on.
        alice.get(format!("{V3}/account/whoami")).await.ok();
    }

    async fn a_running_server_notices_a_closed_account_and_leaves_its_rooms(db: TestDatabase) {
        let server = ServerProcess::start_with(PROGRAM, &db, &[("jobs", "poll_interval", "1s".into())]).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        printed(server.run(&["user", "deactivate", "--name", "@bob:localhost", "--erase"]).await);
        let whoami = async || bob.get(format!("{V3}/account/whoami")).await;
        eventually("his session ends", async || (whoami().await.status == 401).then_some(())).await;
        log_in(&server.client(), "bob", "password of bob").await.error(403, "M_USER_DEACTIVATED");
        let members = format!("{V3}/rooms/{}/joined_members", path_segment(&room));
        let joined = async || -> Value { alice.get(&members).await.ok()["joined"].clone() };
        eventually("he leaves", async || (joined().await.as_object().unwrap().len() == 1).then_some(())).await;
    }
}
