use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

use crate::V3;

async fn mark(user: &User, room: &str, marker: &str, event: &str, body: Value) -> Answer {
    let (room, event) = (path_segment(room), path_segment(event));
    user.post(format!("{V3}/rooms/{room}/receipt/{marker}/{event}")).json(&body).await
}

async fn in_thread(user: &User, room: &str, root: &str, number: u8) -> String {
    let content = json!({
        "msgtype": "m.text",
        "body": "in the thread",
        "m.relates_to": { "rel_type": "m.thread", "event_id": root },
    });
    let path = format!("{V3}/rooms/{}/send/m.room.message/thread{number}", path_segment(room));
    user.put(path).json(&content).await.ok()["event_id"].as_str().unwrap().to_owned()
}

/// The content of the receipts that an answer tells of a room.
fn receipts<'a>(answer: &'a Value, room: &str) -> &'a Value {
    let events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array();
    let receipt = events.and_then(|events| events.iter().find(|event| event["type"] == "m.receipt"));
    receipt.map_or(&Value::Null, |event| &event["content"])
}

fn fully_read<'a>(answer: &'a Value, room: &str) -> &'a Value {
    let events = answer["rooms"]["join"][room]["account_data"]["events"].as_array();
    let marker = events.and_then(|events| events.iter().find(|event| event["type"] == "m.fully_read"));
    marker.map_or(&Value::Null, |event| &event["content"]["event_id"])
}

fn next(answer: &Value) -> Option<&str> {
    answer["next_batch"].as_str()
}

on_both_databases! {
    async fn others_are_shown_public_receipts_and_only_oneself_private_ones(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (first, second) = (alice.send_text(&room, "1").await, alice.send_text(&room, "2").await);
        let (of_alice, of_bob) = (alice.sync(None, 0).await, bob.sync(None, 0).await);

        let (told, _) = tokio::join!(alice.sync(next(&of_alice), 30_000), mark(&bob, &room, "m.read", &first, json!({})));
        let receipt = &receipts(&told, &room)[&first]["m.read"][&bob.id];
        assert!(receipt["ts"].is_i64() && receipt.get("thread_id").is_none(), "{told}");
        mark(&bob, &room, "m.read.private", &second, json!({})).await.ok();
        assert_eq!(*receipts(&alice.sync(next(&told), 0).await, &room), Value::Null);
        let own = bob.sync(next(&of_bob), 0).await;
        assert!(receipts(&own, &room)[&second]["m.read.private"][&bob.id]["ts"].is_i64(), "{own}");
        for (user, is_private_shown) in [(&alice, false), (&bob, true)] {
            let whole = user.sync(None, 0).await;
            assert!(receipts(&whole, &room)[&first]["m.read"][&bob.id].is_object(), "{whole}");
            assert_eq!(receipts(&whole, &room)[&second].is_object(), is_private_shown, "{whole}");
        }
    }

    async fn receipts_never_go_back(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (first, second) = (alice.send_text(&room, "1").await, alice.send_text(&room, "2").await);
        mark(&bob, &room, "m.read", &second, json!({})).await.ok();
        mark(&bob, &room, "m.fully_read", &second, json!({})).await.ok();
        let since = bob.sync(None, 0).await;
        mark(&bob, &room, "m.read", &first, json!({})).await.ok();
        mark(&bob, &room, "m.fully_read", &first, json!({})).await.ok();
        assert!(bob.sync(next(&since), 0).await.get("rooms").is_none());
        assert_eq!(*fully_read(&since, &room), second.as_str());
    }

    async fn a_receipt_names_its_thread(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let root = alice.send_text(&room, "root").await;
        let reply = in_thread(&alice, &room, &root, 1).await;
        let other = alice.send_text(&room, "other").await;
        let since = bob.sync(None, 0).await;
        mark(&bob, &room, "m.read", &root, json!({ "thread_id": "main" })).await.ok();
        mark(&bob, &room, "m.read", &root, json!({ "thread_id": root })).await.ok();
        mark(&bob, &room, "m.read", &reply, json!({ "thread_id": root })).await.ok();
        let answer = bob.sync(next(&since), 0).await;
        assert_eq!(receipts(&answer, &room)[&reply]["m.read"][&bob.id]["thread_id"], root.as_str(), "{answer}");
        // Of several on one event the one without a thread is told.
        mark(&bob, &room, "m.read", &reply, json!({})).await.ok();
        let whole = alice.sync(None, 0).await;
        let told = &receipts(&whole, &room)[&reply]["m.read"][&bob.id];
        assert!(told["ts"].is_i64() && told.get("thread_id").is_none(), "{whole}");
        for (event, thread_id) in [(&reply, json!("main")), (&other, json!(root)), (&reply, json!(other)), (&root, json!(""))] {
            mark(&bob, &room, "m.read", event, json!({ "thread_id": thread_id })).await.error(400, "M_INVALID_PARAM");
        }
        for thread_id in [json!(5), json!(null)] {
            mark(&bob, &room, "m.read", &root, json!({ "thread_id": thread_id })).await.error(400, "M_INVALID_PARAM");
        }
        mark(&bob, &room, "m.fully_read", &root, json!({ "thread_id": "main" })).await.error(400, "M_INVALID_PARAM");
    }

    async fn markers_can_be_moved_together(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (first, second) = (alice.send_text(&room, "1").await, alice.send_text(&room, "2").await);
        let since = bob.sync(None, 0).await;
        let path = format!("{V3}/rooms/{}/read_markers", path_segment(&room));
        let markers = json!({ "m.fully_read": first, "m.read": first, "m.read.private": second });
        assert_eq!(bob.post(&path).json(&markers).await.ok(), json!({}));
        let answer = bob.sync(next(&since), 0).await;
        assert_eq!(*fully_read(&answer, &room), first.as_str());
        assert!(receipts(&answer, &room)[&first]["m.read"][&bob.id].is_object(), "{answer}");
        assert!(receipts(&answer, &room)[&second]["m.read.private"][&bob.id].is_object(), "{answer}");
        assert_eq!(answer["rooms"]["join"][&room]["unread_notifications"]["notification_count"], 0);
        bob.post(&path).json(&json!({})).await.ok();
        bob.post(&path).json(&json!({ "m.read": "$none" })).await.error(404, "M_NOT_FOUND");
        bob.post(&path).json(&json!({ "m.read": 5 })).await.error(400, "M_BAD_JSON");
    }

    async fn receipts_of_nothing_are_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({})).await;
        let other = alice.create_room(&json!({})).await;
        let event = alice.send_text(&room, "1").await;
        mark(&alice, &room, "m.seen", &event, json!({})).await.error(400, "M_INVALID_PARAM");
        mark(&alice, &room, "m.read", "$none", json!({})).await.error(404, "M_NOT_FOUND");
        mark(&alice, &room, "m.read", "none", json!({})).await.error(400, "M_INVALID_PARAM");
        mark(&alice, &other, "m.read", &event, json!({})).await.error(404, "M_NOT_FOUND");
        mark(&bob, &room, "m.read", &event, json!({})).await.error(403, "M_FORBIDDEN");
        mark(&alice, "!none:localhost", "m.read", &event, json!({})).await.error(403, "M_FORBIDDEN");
    }

    async fn filters_choose_ephemeral_events(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let event = alice.send_text(&room, "1").await;
        let since = alice.sync(None, 0).await;
        mark(&bob, &room, "m.read", &event, json!({})).await.ok();
        for (filter, is_told) in [
            (json!({ "types": ["m.receipt"] }), true),
            (json!({ "types": ["m.typing"] }), false),
            (json!({ "not_types": ["m.*"] }), false),
            (json!({ "limit": 0 }), false),
            (json!({ "not_rooms": [room] }), false),
        ] {
            let filter = path_segment(&json!({ "room": { "ephemeral": filter } }).to_string());
            for since in ["", &format!("&since={}", next(&since).unwrap())] {
                let answer = alice.get(format!("{V3}/sync?filter={filter}{since}")).await.ok();
                assert_eq!(receipts(&answer, &room).is_object(), is_told, "{filter}: {answer}");
            }
        }
    }

    async fn only_the_newest_receipt_of_each_thread_is_told(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let root = alice.send_text(&room, "root").await;
        let reply = in_thread(&alice, &room, &root, 1).await;
        let since = alice.sync(None, 0).await;
        let mut events = Vec::new();
        for number in 0..5 {
            events.push(alice.send_text(&room, &number.to_string()).await);
        }
        for event in &events {
            mark(&bob, &room, "m.read", event, json!({})).await.ok();
        }
        mark(&bob, &room, "m.read", &root, json!({ "thread_id": root })).await.ok();
        mark(&bob, &room, "m.read", &reply, json!({ "thread_id": root })).await.ok();
        mark(&alice, &room, "m.read.private", &events[1], json!({})).await.ok();
        mark(&alice, &room, "m.read", &events[0], json!({})).await.ok();
        for answer in [alice.sync(next(&since), 0).await, alice.sync(None, 0).await] {
            let told = receipts(&answer, &room).as_object().unwrap();
            let found: Vec<_> = told.iter().flat_map(|(event, types)| {
                let types = types.as_object().unwrap().iter();
                types.flat_map(move |(kind, users)| users.as_object().unwrap().keys().map(move |user| (&**event, &**kind, &**user)))
            }).collect();
            let mut expected = vec![
                (events[4].as_str(), "m.read", bob.id.as_str()),
                (&reply, "m.read", &bob.id),
                (&events[0], "m.read", &alice.id),
                (&events[1], "m.read.private", &alice.id),
            ];
            expected.sort_unstable();
            let mut found = found;
            found.sort_unstable();
            assert_eq!(found, expected, "{answer}");
        }
    }

    async fn receipts_of_several_threads_on_one_event_are_all_told(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let root = alice.send_text(&room, "root").await;
        in_thread(&alice, &room, &root, 1).await;
        let since = alice.sync(None, 0).await;
        for thread in ["main", &root] {
            mark(&bob, &room, "m.read", &root, json!({ "thread_id": thread })).await.ok();
        }
        for answer in [alice.sync(next(&since), 0).await, alice.sync(None, 0).await] {
            let events = answer["rooms"]["join"][&room]["ephemeral"]["events"].as_array().unwrap();
            let mut threads: Vec<_> = events
                .iter()
                .filter_map(|event| event["content"][&root]["m.read"][&bob.id]["thread_id"].as_str())
                .collect();
            threads.sort_unstable();
            let mut expected = ["main", root.as_str()];
            expected.sort_unstable();
            assert_eq!(threads, expected, "{answer}");
        }
    }
}
