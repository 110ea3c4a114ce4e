//! The form of events that a filter asks for

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use super::{act, filtered, joined, left, redact, timeline, token, topic};
use crate::V3;

/// The keys of an event, which is nothing but an object.
fn keys(event: &Value) -> Vec<&str> {
    event.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn send(user: &User, room: &str, content: Value) {
    let path = format!("{V3}/rooms/{}/send/m.room.message/once", path_segment(room));
    assert!(user.put(path).json(&content).await.ok()["event_id"].is_string());
}

on_both_databases! {
    async fn only_the_fields_asked_for_are_in_events(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "name": "n" })).await;
        let content = json!({ "msgtype": "m.text", "body": "hello", "m.x": { "a": 1, "b": 2 }, "d\\e": 3 });
        send(&alice, &room, content).await;
        let account_data = format!("{V3}/user/{}/account_data/org.a", path_segment(&alice.id));
        assert!(alice.put(account_data).json(&json!({ "a": 1 })).await.ok().is_object());
        for (fields, expected) in [
            (json!(["content.body", "type"]), json!({ "content": { "body": "hello" }, "type": "m.room.message" })),
            (json!(["content.m\\.x.a", "sender"]), json!({ "content": { "m.x": { "a": 1 } }, "sender": alice.id })),
            (json!(["content.d\\\\e"]), json!({ "content": { "d\\e": 3 } })),
            (json!(["unsigned.transaction_id"]), json!({ "unsigned": { "transaction_id": "once" } })),
            (json!(["content.m.x.a", "nothing"]), json!({})),
        ] {
            let filter = json!({ "event_fields": fields, "room": { "timeline": { "limit": 1 } } });
            let answer = filtered(&alice, &filter, "").await;
            assert_eq!(timeline(joined(&answer, &room)), &[expected], "{fields}");
            assert_eq!(answer["account_data"]["events"][0], json!({ "type": "org.a", "content": { "a": 1 } }));
        }
        let filter = json!({ "event_fields": ["state_key", "type"], "room": { "timeline": { "limit": 1 } } });
        for query in ["", "use_state_after=true"] {
            let answer = filtered(&alice, &filter, query).await;
            let state = joined(&answer, &room).get("state").or(joined(&answer, &room).get("state_after")).unwrap();
            let events = state["events"].as_array().unwrap();
            assert!(events.contains(&json!({ "state_key": "", "type": "m.room.name" })), "{answer}");
            assert!(events.iter().all(|event| keys(event) == ["state_key", "type"]), "{answer}");
        }
    }

    async fn stored_filters_and_new_events_have_the_form_too(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let path = format!("{V3}/user/{}/filter", path_segment(&bob.id));
        let stored = bob.post(path).json(&json!({ "event_fields": ["content.body"] })).await.ok();
        let filter = stored["filter_id"].as_str().unwrap();
        let since = token(&bob).await;
        alice.send_text(&room, "hello").await;
        let answer = super::sync(&bob, &format!("filter={filter}&since={since}")).await;
        assert_eq!(timeline(joined(&answer, &room)), &[json!({ "content": { "body": "hello" } })]);
        act(&alice, &room, "kick", json!({ "user_id": bob.id })).await;
        let answer = super::sync(&bob, &format!("filter={filter}&since={since}")).await;
        assert_eq!(timeline(left(&answer, &room)), &[json!({ "content": { "body": "hello" } }), json!({})]);
    }

    async fn events_are_given_as_servers_exchange_them(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        for version in ["1", "11", "12"] {
            let room = alice.create_room(&json!({ "room_version": version })).await;
            topic(&alice, &room, "a topic").await;
            let secret = alice.send_text(&room, "secret").await;
            redact(&alice, &room, &secret).await;
            let filter = json!({ "event_format": "federation", "room": { "rooms": [room] } });
            let since = token(&alice).await;
            alice.send_text(&room, "hello").await;
            for query in [String::new(), format!("since={since}")] {
                let answer = filtered(&alice, &filter, &query).await;
                let events = timeline(joined(&answer, &room));
                let last = events.last().unwrap();
                assert_eq!((&last["content"]["body"], &last["room_id"]), (&json!("hello"), &json!(room)));
                let expected = [
                    "auth_events", "content", "depth", "hashes", "origin_server_ts", "prev_events", "room_id", "sender",
                    "signatures", "type",
                ];
                let found: Vec<_> = keys(last).into_iter().filter(|key| !matches!(*key, "event_id" | "origin")).collect();
                assert_eq!(found, expected, "{version}");
                assert_eq!(last.get("event_id").is_some(), version == "1");
                assert!(last["signatures"]["localhost"].is_object() && last["depth"].is_number());
                assert!(!answer.to_string().contains("secret"));
            }
            let both = json!({ "event_format": "federation", "event_fields": ["depth"], "room": { "rooms": [room] } });
            let answer = filtered(&alice, &both, &format!("since={since}")).await;
            assert_eq!(keys(&timeline(joined(&answer, &room))[0]), ["depth"]);
        }
    }

    async fn the_state_is_given_as_servers_exchange_it(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "room_version": "12" })).await;
        let filter = json!({ "event_format": "federation", "room": { "timeline": { "limit": 0 } } });
        let answer = filtered(&alice, &filter, "").await;
        let events = joined(&answer, &room)["state"]["events"].as_array().unwrap();
        assert!(events.len() > 3 && events.iter().all(|event| event["signatures"].is_object()), "{answer}");
        // Since version 12 the create event has no room ID.
        let create = events.iter().find(|event| event["type"] == "m.room.create").unwrap();
        assert!(create.get("room_id").is_none(), "{create}");
    }
}
