//! Unread counts

mod model;

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use crate::V3;

/// What a user has not read of a room, threads included: how much notifies, and how much of it highlights.
async fn unread(user: &User, room: &str) -> (i64, i64) {
    counts(&user.sync(None, 0).await["rooms"]["join"][room]["unread_notifications"])
}

fn counts(json: &Value) -> (i64, i64) {
    let count = |key: &str| json[key].as_i64().unwrap();
    (count("notification_count"), count("highlight_count"))
}

async fn send(user: &User, room: &str, transaction: &str, content: Value) -> String {
    let path = format!("{V3}/rooms/{}/send/m.room.message/{transaction}", path_segment(room));
    user.put(path).json(&content).await.ok()["event_id"].as_str().unwrap().to_owned()
}

async fn read(user: &User, room: &str, event: &str) {
    let path = format!("{V3}/rooms/{}/receipt/m.read/{}", path_segment(room), path_segment(event));
    user.post(path).json(&json!({})).await.ok();
}

async fn redact(user: &User, room: &str, event: &str) {
    let transaction = format!("{event}{}", user.sync(None, 0).await["next_batch"]);
    let (room, event, transaction) = (path_segment(room), path_segment(event), path_segment(&transaction));
    user.put(format!("{V3}/rooms/{room}/redact/{event}/{transaction}")).json(&json!({})).await.ok();
}

async fn put_rule(user: &User, kind: &str, rule_id: &str, rule: Value) {
    let path = format!("{V3}/pushrules/global/{kind}/{}", path_segment(rule_id));
    user.put(path).json(&rule).await.ok();
}

on_both_databases! {
    async fn messages_of_others_count_until_they_are_read(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        alice.send_text(&room, "before bob came").await;
        bob.join(&room).await;
        assert_eq!(unread(&bob, &room).await, (0, 0));
        let first = alice.send_text(&room, "1").await;
        let mention = json!({ "msgtype": "m.text", "body": "2", "m.mentions": { "user_ids": [bob.id] } });
        let second = send(&alice, &room, "mention", mention).await;
        send(&alice, &room, "notice", json!({ "msgtype": "m.notice", "body": "3" })).await;
        bob.send_text(&room, "own").await;
        assert_eq!(unread(&bob, &room).await, (2, 1));
        assert_eq!(unread(&alice, &room).await, (1, 0));
        read(&bob, &room, &first).await;
        assert_eq!(unread(&bob, &room).await, (1, 1));
        read(&bob, &room, &second).await;
        assert_eq!(unread(&bob, &room).await, (0, 0));
        // Reading does not go back.
        read(&bob, &room, &first).await;
        assert_eq!(unread(&bob, &room).await, (0, 0));
    }

    async fn what_is_redacted_is_unread_to_nobody(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        carol.join(&room).await;
        let root = alice.send_text(&room, "root").await;
        let thread = json!({ "rel_type": "m.thread", "event_id": root });
        let mention = |body: &str| json!({ "msgtype": "m.text", "body": body, "m.mentions": { "user_ids": [bob.id] } });
        let mut sent = Vec::new();
        for number in 0..3 {
            sent.push(send(&alice, &room, &format!("m{number}"), mention("you")).await);
            let mut reply = mention("you, there");
            reply["m.relates_to"] = thread.clone();
            sent.push(send(&alice, &room, &format!("t{number}"), reply).await);
        }
        let mut since = bob.sync(None, 0).await;
        let of_room = |answer: &Value| counts(&answer["rooms"]["join"][&room]["unread_notifications"]);
        assert_eq!(of_room(&since), (7, 6));
        assert_eq!(unread(&carol, &room).await, (7, 0));
        // What carol has read counts for her neither before nor after.
        read(&carol, &room, &sent[1]).await;
        for (number, event) in sent.iter().enumerate() {
            redact(&alice, &room, event).await;
            // Redacted again, it counts no less.
            redact(&alice, &room, event).await;
            since = bob.sync(since["next_batch"].as_str(), 0).await;
            let left = i64::try_from(sent.len() - number - 1).unwrap();
            assert_eq!(of_room(&since), (left + 1, left), "from memory");
            assert_eq!(unread(&bob, &room).await, (left + 1, left));
            assert_eq!(unread(&carol, &room).await, (left.min(4), 0));
        }
        server.shutdown().await;
        let server = TestServer::start(&db).await;
        assert_eq!(unread(&bob.at(&server.client()), &room).await, (1, 0));
        assert_eq!(unread(&alice.at(&server.client()), &room).await, (0, 0));
    }

    async fn other_devices_are_told_when_counts_change(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let mut since = bob.sync(None, 0).await;
        for expected in 1..=3 {
            alice.send_text(&room, "more").await;
            since = bob.sync(since["next_batch"].as_str(), 30_000).await;
            assert_eq!(counts(&since["rooms"]["join"][&room]["unread_notifications"]), (expected, 0));
        }
        let event = since["rooms"]["join"][&room]["timeline"]["events"][0]["event_id"].as_str().unwrap().to_owned();
        let filter = path_segment(r#"{"room":{"ephemeral":{"types":[]}}}"#);
        let query = format!("{V3}/sync?timeout=30000&filter={filter}&since={}", since["next_batch"].as_str().unwrap());
        let (answer, ()) = tokio::join!(bob.get(query), read(&bob, &room, &event));
        let room = &answer.ok()["rooms"]["join"][&room];
        assert_eq!(counts(&room["unread_notifications"]), (0, 0));
        assert_eq!(room["ephemeral"]["events"], json!([]));
    }

    async fn what_is_muted_or_ignored_does_not_count_and_what_is_highlighted_does(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        alice.send_text(&room, "1").await;
        put_rule(&bob, "room", &room, json!({ "actions": [] })).await;
        alice.send_text(&room, "muted").await;
        alice.send_text(&room, "muted").await;
        assert_eq!(unread(&bob, &room).await, (1, 0));
        let cake = json!({ "pattern": "cake", "actions": ["notify", { "set_tweak": "highlight" }] });
        put_rule(&bob, "content", "cake", cake).await;
        alice.send_text(&room, "There is cake!").await;
        assert_eq!(unread(&bob, &room).await, (2, 1));
        bob.delete(format!("{V3}/pushrules/global/room/{}", path_segment(&room))).await.ok();
        alice.send_text(&room, "2").await;
        assert_eq!(unread(&bob, &room).await, (3, 1));
        let ignored = format!("{V3}/user/{}/account_data/m.ignored_user_list", path_segment(&bob.id));
        bob.put(&ignored).json(&json!({ "ignored_users": { &alice.id: {} } })).await.ok();
        alice.send_text(&room, "ignored cake").await;
        assert_eq!(unread(&bob, &room).await, (3, 1));
        bob.put(&ignored).json(&json!({ "ignored_users": {} })).await.ok();
        alice.send_text(&room, "3").await;
        assert_eq!(unread(&bob, &room).await, (4, 1));
        assert_eq!(unread(&alice, &room).await, (0, 0));
    }

    async fn a_mention_of_the_room_highlights_if_the_sender_may(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        carol.join(&room).await;
        let all = json!({ "msgtype": "m.text", "body": "all of you", "m.mentions": { "room": true } });
        send(&alice, &room, "all", all.clone()).await;
        assert_eq!(unread(&bob, &room).await, (1, 1));
        assert_eq!(unread(&carol, &room).await, (1, 1));
        send(&bob, &room, "all", all).await;
        assert_eq!(unread(&alice, &room).await, (1, 0));
        assert_eq!(unread(&bob, &room).await, (1, 1));
        assert_eq!(unread(&carol, &room).await, (2, 1));
    }

    async fn what_was_read_in_a_thread_is_no_longer_kept_to_count_it(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let root = alice.send_text(&room, "root").await;
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        let in_thread = json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
        let kept = async || {
            let sql = "SELECT COUNT(*) FROM unread_differences";
            server.database().query(sql, &[], |row| row.get::<i64>(0)).await.unwrap()[0]
        };
        // To who sent a message it is something else than to others.
        for number in 0..10 {
            let main = send(&bob, &room, &format!("main{number}"), json!({ "msgtype": "m.text", "body": "x" })).await;
            let reply = send(&bob, &room, &format!("thread{number}"), in_thread.clone()).await;
            for (event, thread) in [(main, "main"), (reply, root.as_str())] {
                let path = format!("{V3}/rooms/{}/receipt/m.read/{}", path_segment(&room), path_segment(&event));
                bob.post(path).json(&json!({ "thread_id": thread })).await.ok();
            }
            assert!(kept().await <= 3, "{} after {number}", kept().await);
        }
        assert_eq!(unread(&bob, &room).await, (0, 0));
        send(&alice, &room, "reply", in_thread).await;
        alice.send_text(&room, "new").await;
        assert_eq!(unread(&bob, &room).await, (2, 0));
    }

    async fn threads_count_by_themselves_for_clients_that_want_that(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let root = alice.send_text(&room, "root").await;
        let relation = |rel_type: &str, event: &str| json!({ "rel_type": rel_type, "event_id": event });
        let text = |relation: Value| json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
        let reply = send(&alice, &room, "1", text(relation("m.thread", &root))).await;
        // What is related to an event of a thread is in the thread, and what is related to the root is not.
        send(&alice, &room, "2", text(relation("m.reference", &reply))).await;
        send(&alice, &room, "3", text(relation("m.reference", &root))).await;
        let filter = path_segment(r#"{"room":{"timeline":{"unread_thread_notifications":true}}}"#);
        let query = format!("{V3}/sync?filter={filter}");
        let whole = bob.get(&query).await.ok()["rooms"]["join"][&room].clone();
        assert_eq!(counts(&whole["unread_notifications"]), (2, 0));
        assert_eq!(counts(&whole["unread_thread_notifications"][&root]), (2, 0));
        assert_eq!(unread(&bob, &room).await, (4, 0));
        let path = format!("{V3}/rooms/{}/receipt/m.read/{}", path_segment(&room), path_segment(&reply));
        bob.post(&path).json(&json!({ "thread_id": root })).await.ok();
        let whole = bob.get(&query).await.ok()["rooms"]["join"][&room].clone();
        assert_eq!(counts(&whole["unread_notifications"]), (2, 0));
        assert_eq!(counts(&whole["unread_thread_notifications"][&root]), (1, 0));
        bob.post(&path).json(&json!({})).await.ok();
        let whole = bob.get(&query).await.ok()["rooms"]["join"][&room].clone();
        assert_eq!(counts(&whole["unread_notifications"]), (1, 0));
        assert_eq!(counts(&whole["unread_thread_notifications"][&root]), (1, 0));
    }

    async fn counts_survive_a_restart(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        alice.send_text(&room, "1").await;
        put_rule(&bob, "room", &room, json!({ "actions": [] })).await;
        alice.send_text(&room, "muted").await;
        bob.send_text(&room, "own").await;
        server.shutdown().await;
        let server = TestServer::start(&db).await;
        let (alice, bob) = (alice.at(&server.client()), bob.at(&server.client()));
        alice.send_text(&room, "muted too").await;
        assert_eq!(unread(&bob, &room).await, (1, 0));
        bob.delete(format!("{V3}/pushrules/global/room/{}", path_segment(&room))).await.ok();
        alice.send_text(&room, "2").await;
        assert_eq!(unread(&bob, &room).await, (2, 0));
        assert_eq!(unread(&alice, &room).await, (1, 0));
    }
}
