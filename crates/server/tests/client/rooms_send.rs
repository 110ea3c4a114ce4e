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

    async fn the_same_transaction_id_on_another_path_is_another_request(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "room_version": "11" })).await;
        let (one, other) = (alice.send_text(&room, "one").await, alice.send_text(&room, "other").await);
        let third = alice.send_text(&room, "third").await;
        let redact = async |event: &str| {
            let path = format!("redact/{}/1", path_segment(event));
            put(&alice, &room, &path, &json!({})).await.ok()["event_id"].clone()
        };
        let (first, second) = (redact(&one).await, redact(&other).await);
        assert_ne!(first, second);
        let by_hand = json!({ "redacts": third });
        let by_hand = put(&alice, &room, "send/m.room.redaction/1", &by_hand).await.ok()["event_id"].clone();
        assert!(by_hand != first && by_hand != second);
        let message = put(&alice, &room, "send/m.room.message/1", &json!({ "body": "x" })).await.ok();
        let sticker = put(&alice, &room, "send/m.sticker/1", &json!({ "body": "x" })).await.ok();
        assert_ne!(message, sticker);
        for event in [&one, &other, &third] {
            let path = format!("/_matrix/client/v3/rooms/{}/event/{}", path_segment(&room), path_segment(event));
            assert_eq!(alice.get(path).await.ok()["content"], json!({}), "{event} was redacted");
        }
        assert_eq!((redact(&one).await, redact(&other).await), (first, second));
    }

    async fn a_repeated_request_is_answered_though_its_sender_has_left_meanwhile(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let text = json!({ "msgtype": "m.text", "body": "x" });
        let sent = put(&alice, &room, "send/m.room.message/1", &text).await.ok();
        let path = format!("redact/{}/1", path_segment(sent["event_id"].as_str().unwrap()));
        let redacted = put(&alice, &room, &path, &json!({})).await.ok();
        alice.post(format!("/_matrix/client/v3/rooms/{}/leave", path_segment(&room))).json(&json!({})).await.ok();
        assert_eq!(put(&alice, &room, "send/m.room.message/1", &text).await.ok(), sent);
        assert_eq!(put(&alice, &room, &path, &json!({})).await.ok(), redacted);
        put(&alice, &room, "send/m.room.message/2", &text).await.error(403, "M_FORBIDDEN");
    }

    async fn a_transaction_id_is_of_the_device_and_outlives_its_access_token(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let login = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": "alice" },
            "password": "password of alice",
            "refresh_token": true,
        });
        let session = server.client().post("/_matrix/client/v3/login").json(&login).await.ok();
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/1", path_segment(&room));
        let send = async |tokens: &Value| {
            let token = tokens["access_token"].as_str().unwrap();
            server.client().put(&path).token(token).json(&json!({ "body": "x" })).await.ok()["event_id"].clone()
        };
        let first = send(&session).await;
        let refresh = json!({ "refresh_token": session["refresh_token"] });
        let refreshed = server.client().post("/_matrix/client/v3/refresh").json(&refresh).await.ok();
        assert_eq!(send(&refreshed).await, first);
        assert_ne!(put(&alice, &room, "send/m.room.message/1", &json!({ "body": "x" })).await.ok()["event_id"], first);
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
