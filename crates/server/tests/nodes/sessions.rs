//! What ends a session at one server ends it at all.

use std::time::Duration;

use serde_json::json;
use testing::{User, eventually};

use crate::world::{Nodes, soon};

/// A session that both servers know, and a request of it that waits at the second.
async fn known_at_both(nodes: &Nodes, user: &User) -> tokio::task::JoinHandle<testing::Answer> {
    let there = nodes.at(1, user);
    for server in 0..2 {
        nodes.at(server, user).get("/_matrix/client/v3/account/whoami").await.ok();
    }
    let since = there.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
    let waiting =
        tokio::spawn(there.get(format!("/_matrix/client/v3/sync?timeout=120000&since={since}")).into_future());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    waiting
}

async fn is_refused(nodes: &Nodes, user: &User) {
    for server in 0..2 {
        let user = nodes.at(server, user);
        eventually("the end of the session", async || {
            let answer = user.get("/_matrix/client/v3/account/whoami").await;
            (answer.status == 401).then(|| answer.error(401, "M_UNKNOWN_TOKEN"))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_at_one_server_ends_the_session_at_the_other() {
    let nodes = Nodes::start(2).await;
    let alice = nodes.servers[0].register("alice").await;
    let other = User::log_in(&nodes.servers[1].client(), "alice").await;
    let waiting = known_at_both(&nodes, &alice).await;
    let others = known_at_both(&nodes, &other).await;
    nodes.at(0, &alice).post("/_matrix/client/v3/logout").json(&json!({})).await.ok();
    soon("the waiting request ends", waiting).await.unwrap();
    is_refused(&nodes, &alice).await;
    // The other session stays.
    assert!(!others.is_finished());
    nodes.at(0, &other).get("/_matrix/client/v3/account/whoami").await.ok();

    nodes.at(1, &other).post("/_matrix/client/v3/logout/all").json(&json!({})).await.ok();
    soon("the waiting request ends", others).await.unwrap();
    is_refused(&nodes, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_and_a_closed_account_end_sessions_at_every_server() {
    let nodes = Nodes::start(2).await;
    let alice = nodes.servers[0].register("alice").await;
    let other = User::log_in(&nodes.servers[1].client(), "alice").await;
    let waiting = known_at_both(&nodes, &alice).await;
    let identifier = json!({ "type": "m.id.user", "user": "alice" });
    let auth = json!({ "type": "m.login.password", "identifier": identifier, "password": "password of alice" });
    let changed = json!({ "auth": auth, "new_password": "another password, quite long", "logout_devices": true });
    nodes.at(1, &other).post("/_matrix/client/v3/account/password").json(&changed).await.ok();
    soon("the waiting request ends", waiting).await.unwrap();
    is_refused(&nodes, &alice).await;

    let waiting = known_at_both(&nodes, &other).await;
    let closed = nodes.servers[0].run(&["user", "deactivate", "--name", "alice"]).await;
    assert!(closed.status.success(), "{closed:?}");
    soon("the waiting request ends", waiting).await.unwrap();
    is_refused(&nodes, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authentication_in_steps_goes_on_at_another_server() {
    let nodes = Nodes::start(2).await;
    let [first, second] = [0, 1].map(|number| nodes.servers[number].client());
    let path = "/_matrix/client/v3/register";
    let mut wanted = json!({ "username": "carol", "password": "password of carol" });
    let challenge = first.post(path).json(&wanted).await;
    assert_eq!(challenge.status, 401, "{challenge}");
    wanted["auth"] = json!({ "type": "m.login.dummy", "session": challenge.json["session"] });
    let account = second.post(path).json(&wanted).await.ok();
    // The same again has the same answer, wherever it comes.
    let again = first.post(path).json(&wanted).await.ok();
    assert_eq!(account["user_id"], again["user_id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_refreshed_at_any_server() {
    let nodes = Nodes::start(2).await;
    nodes.servers[0].register("alice").await;
    let [first, second] = [0, 1].map(|number| nodes.servers[number].client());
    let identifier = json!({ "type": "m.id.user", "user": "alice" });
    let login = json!({ "type": "m.login.password", "identifier": identifier, "password": "password of alice",
                        "refresh_token": true });
    let session = first.post("/_matrix/client/v3/login").json(&login).await.ok();
    let token = |answer: &serde_json::Value, key: &str| answer[key].as_str().unwrap().to_owned();
    let old = token(&session, "access_token");
    let whoami = "/_matrix/client/v3/account/whoami";
    first.get(whoami).token(&old).await.ok();
    second.get(whoami).token(&old).await.ok();
    let refresh = json!({ "refresh_token": session["refresh_token"] });
    let refreshed = second.post("/_matrix/client/v3/refresh").json(&refresh).await.ok();
    // The old token is good until the new one is used, and then no more, at neither server.
    first.get(whoami).token(&old).await.ok();
    second.get(whoami).token(&token(&refreshed, "access_token")).await.ok();
    for client in [&first, &second] {
        eventually("the end of the old token", async || {
            (client.get(whoami).token(&old).await.status == 401).then_some(())
        })
        .await;
        client.get(whoami).token(&token(&refreshed, "access_token")).await.ok();
    }
}
