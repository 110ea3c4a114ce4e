//! A clock that is set back, as happens to machines whose clock was wrong.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use homeserver_core::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};
use testing::{Answer, Client, TestServer, on_both_databases};

use crate::load::messages;

/// In milliseconds.
const HOUR: i64 = 3_600_000;

/// The machine's clock, set forward or back by so many milliseconds.
#[derive(Default)]
struct Movable(AtomicI64);

impl Movable {
    fn set_to(&self, difference_ms: i64) {
        self.0.store(difference_ms, Ordering::Relaxed);
    }
}

impl Clock for Movable {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::Relaxed))
    }
}

async fn log_in(client: &Client) -> Value {
    let login = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" },
        "password": "password of alice", "refresh_token": true,
    });
    client.post("/_matrix/client/v3/login").json(&login).await.ok()
}

async fn whoami(client: &Client, tokens: &Value) -> Answer {
    client.get("/_matrix/client/v3/account/whoami").token(tokens["access_token"].as_str().unwrap()).await
}

async fn refresh(client: &Client, tokens: &Value) -> Value {
    let body = json!({ "refresh_token": tokens["refresh_token"] });
    client.post("/_matrix/client/v3/refresh").json(&body).await.ok()
}

on_both_databases! {
    async fn a_clock_that_is_set_back_changes_neither_order_nor_who_is_logged_in(db: TestDatabase) {
        let clock = Arc::new(Movable::default());
        let server = TestServer::start_at(clock.clone(), &db, &[]).await;
        let alice = server.register("alice").await;
        let room_id = alice.create_room(&json!({})).await;
        for text in ["one", "two"] {
            alice.send_text(&room_id, text).await;
        }
        let early = log_in(&server.client()).await;
        let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();

        clock.set_to(-3 * HOUR);
        for text in ["three", "four"] {
            alice.send_text(&room_id, text).await;
        }
        let synced = alice.sync(Some(&since), 0).await;
        let timeline = synced["rooms"]["join"][&room_id]["timeline"]["events"].as_array().unwrap();
        let texts: Vec<_> = timeline.iter().map(|event| event["content"]["body"].as_str().unwrap()).collect();
        assert_eq!(texts, ["three", "four"]);
        assert_eq!(messages(&alice, &room_id).await, ["four", "three", "two", "one"]);
        whoami(&server.client(), &early).await.ok();
        let late = log_in(&server.client()).await;
        whoami(&server.client(), &late).await.ok();
        refresh(&server.client(), &early).await;

        // Right again: what was given out for an hour, three hours ago, has expired, and its owner gets a new one.
        clock.set_to(0);
        assert_eq!(whoami(&server.client(), &late).await.error(401, "M_UNKNOWN_TOKEN")["soft_logout"], true);
        let renewed = refresh(&server.client(), &late).await;
        whoami(&server.client(), &renewed).await.ok();

        let since = synced["next_batch"].as_str().unwrap().to_owned();
        server.shutdown().await;
        clock.set_to(-24 * HOUR);
        let server = TestServer::start_at(clock, &db, &[]).await;
        let alice = alice.at(&server.client());
        alice.send_text(&room_id, "five").await;
        let synced = alice.sync(Some(&since), 0).await;
        let timeline = &synced["rooms"]["join"][&room_id]["timeline"]["events"];
        assert_eq!(timeline.as_array().unwrap().len(), 1, "{timeline}");
        assert_eq!(messages(&alice, &room_id).await, ["five", "four", "three", "two", "one"]);
        server.shutdown().await;
    }
}
