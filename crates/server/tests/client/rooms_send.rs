//! Sending, setting state, redacting

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

async fn put(user: &User, room: &str, path: &str, content: &Value) -> Answer {
    user.put(format!("/_matrix/client/v3/rooms/{}/{path}", path_segment(room))).json(content).await
}

on_both_databases! {
    async fn a_repeated_transaction_has_the_same_event(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let text = json!({ "msgtype": "m.text", "body": "x" });
        let send = async |user| put(user, &room, "send/m.room.message/1", &text).await.ok()["event_id"].clone();
        let (first, second, third) = tokio::join!(send(&alice), send(&alice), send(&alice));
        assert_eq!((&first, &second), (&second, &third));
        assert_ne!(send(&bob).await, first);
        assert_ne!(put(&alice, &room, "send/m.room.message/2", &text).await.ok()["event_id"], first);

        server.shutdown().await;
        let again = TestServer::start(&db).await;
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/1", path_segment(&room));
        let repeated = again.client().put(path).token(&alice.token).json(&text).await.ok();
        assert_eq!(repeated["event_id"], first);
    }

    async fn state_that_says_the_same_is_not_sent_again(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let set = async |path: &str, value: i64| put(&alice, &room, path, &json!({ "a": value })).await.ok();
        let first = set("state/org.a", 1).await;
        assert_eq!(set("state/org.a/", 1).await, first);
        assert_ne!(set("state/org.a/key", 1).await, first);
        assert_ne!(set("state/org.a", 2).await, first);
        put(&bob, &room, "state/org.a", &json!({ "a": 2 })).await.error(403, "M_FORBIDDEN");
    }

    async fn what_events_cannot_hold_is_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let big = json!({ "body": "x".repeat(66_000) });
        for path in ["send/m.room.message/1", "state/org.a"] {
            put(&alice, &room, path, &big).await.error(413, "M_TOO_LARGE");
            put(&alice, &room, path, &json!({ "x": 1.5 })).await.error(400, "M_BAD_JSON");
            put(&alice, &room, path, &json!([])).await.error(400, "M_BAD_JSON");
            put(&alice, &room, path, &json!({ "body": "a\0b" })).await.ok();
        }
        let long = "k".repeat(256);
        put(&alice, &room, &format!("send/{long}/1"), &json!({})).await.error(413, "M_TOO_LARGE");
        put(&alice, &room, &format!("state/org.a/{long}"), &json!({})).await.error(413, "M_TOO_LARGE");
        put(&alice, &room, "state/m.room.power_levels", &json!({ "users": [] })).await.error(400, "M_BAD_JSON");
        let of_creator = json!({ "users": { &alice.id: 100 } });
        put(&alice, &room, "state/m.room.power_levels", &of_creator).await.error(400, "M_BAD_JSON");
        put(&alice, &room, "state/m.room.create", &json!({})).await.error(400, "M_INVALID_PARAM");
        put(&alice, "!nowhere:localhost", "send/m.room.message/1", &json!({})).await.error(403, "M_FORBIDDEN");
    }

    async fn redacting_is_for_the_sender_and_those_with_the_level(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let other = alice.create_room(&json!({})).await;
        bob.join(&room).await;
        let (of_alice, of_bob) = (alice.send_text(&room, "a").await, bob.send_text(&room, "b").await);
        let elsewhere = alice.send_text(&other, "c").await;
        let path = |event: &str, transaction: &str| format!("redact/{}/{transaction}", path_segment(event));
        put(&bob, &room, &path(&of_alice, "1"), &json!({})).await.error(403, "M_FORBIDDEN");
        put(&alice, &room, &path(&elsewhere, "1"), &json!({})).await.error(404, "M_NOT_FOUND");
        put(&alice, &room, &path("$nothing", "1"), &json!({})).await.error(404, "M_NOT_FOUND");
        put(&alice, &room, &path(&of_bob, "1"), &json!({ "reason": 5 })).await.error(400, "M_BAD_JSON");
        let first = put(&alice, &room, &path(&of_bob, "1"), &json!({ "reason": "r" })).await.ok();
        assert_eq!(put(&alice, &room, &path(&of_bob, "1"), &json!({ "reason": "r" })).await.ok(), first);
        put(&bob, &room, "send/m.room.redaction/2", &json!({})).await.error(400, "M_BAD_JSON");
        put(&bob, &room, "send/m.room.redaction/2", &json!({ "redacts": of_alice })).await.error(403, "M_FORBIDDEN");
    }
}
