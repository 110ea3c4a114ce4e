use std::time::Duration;

use serde_json::{Value, json};
use testing::{Answer, Client, TestServer, User, on_both_databases};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::{V3, log_in, password_stage};

/// Far less than the long poll of a request that waits here.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A `/sync` of this session that has begun to wait.
async fn waiting(client: &Client, token: &str) -> JoinHandle<Answer> {
    let since = client.get(format!("{V3}/sync")).token(token).await.ok()["next_batch"].as_str().unwrap().to_owned();
    let request = client.get(format!("{V3}/sync?timeout=60000&since={since}")).token(token);
    let request = tokio::spawn(async move { request.await });
    sleep(Duration::from_millis(300)).await;
    assert!(!request.is_finished());
    request
}

async fn is_told(waiting: JoinHandle<Answer>) {
    let answer = timeout(AT_ONCE, waiting).await.unwrap().unwrap();
    let error = answer.error(401, "M_UNKNOWN_TOKEN");
    assert_ne!(error["soft_logout"], true, "{error}");
}

/// A second session of this user, on a device of this ID, and its `/sync` that waits.
async fn other_session(client: &Client, name: &str, device_id: &str) -> (String, JoinHandle<Answer>) {
    let session = log_in(client, name, json!({ "device_id": device_id })).await.ok();
    let token = session["access_token"].as_str().unwrap().to_owned();
    let waits = waiting(client, &token).await;
    (token, waits)
}

fn with_password(user: &User, path: &str, mut body: Value) -> testing::Request {
    body["auth"] = password_stage("alice", "password of alice");
    user.post(format!("{V3}{path}")).json(&body)
}

on_both_databases! {
    async fn a_sync_that_waits_is_told_at_once_that_its_session_was_logged_out(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let (token, waits) = other_session(&client, "alice", "A").await;
        let kept = waiting(&client, &alice.token).await;
        client.post(format!("{V3}/logout")).token(&token).await.ok();
        is_told(waits).await;
        sleep(Duration::from_millis(300)).await;
        assert!(!kept.is_finished());

        let (token, waits) = other_session(&client, "alice", "B").await;
        client.post(format!("{V3}/logout/all")).token(&token).await.ok();
        is_told(waits).await;
        is_told(kept).await;
    }

    async fn a_sync_that_waits_is_told_at_once_that_its_device_was_deleted(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let (_, waits) = other_session(&client, "alice", "A").await;
        let body = json!({ "auth": password_stage("alice", "password of alice") });
        alice.delete(format!("{V3}/devices/A")).json(&body).await.ok();
        is_told(waits).await;
        let (_, waits) = other_session(&client, "alice", "B").await;
        with_password(&alice, "/delete_devices", json!({ "devices": ["B"] })).await.ok();
        is_told(waits).await;
        // Whoever logs in again on a device ends what was there.
        let (_, waits) = other_session(&client, "alice", "C").await;
        log_in(&client, "alice", json!({ "device_id": "C" })).await.ok();
        is_told(waits).await;
    }

    async fn a_sync_that_waits_is_told_at_once_of_another_password_and_of_a_closed_account(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let (_, waits) = other_session(&client, "alice", "A").await;
        let kept = waiting(&client, &alice.token).await;
        with_password(&alice, "/account/password", json!({ "new_password": "password of alice" })).await.ok();
        is_told(waits).await;
        assert!(!kept.is_finished());
        with_password(&alice, "/account/deactivate", json!({})).await.ok();
        is_told(kept).await;
    }

    async fn a_sync_that_waits_goes_on_when_its_token_is_refreshed(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let session = log_in(&client, "alice", json!({ "refresh_token": true })).await.ok();
        let waits = waiting(&client, session["access_token"].as_str().unwrap()).await;
        let fresh = client.post(format!("{V3}/refresh")).json(&json!({ "refresh_token": session["refresh_token"] }));
        let fresh = fresh.await.ok();
        client.get(format!("{V3}/account/whoami")).token(fresh["access_token"].as_str().unwrap()).await.ok();
        alice.create_room(&json!({})).await;
        timeout(AT_ONCE, waits).await.unwrap().unwrap().ok();
    }
}
