//! What stands in the events and in account data

use serde_json::{Value, json};
use testing::{TestServer, on_both_databases, path_segment};

use super::{ids, joined, next, nothing_but, redact, sync, timeline, token};
use crate::{V3, log_in};

fn event<'a>(answer: &'a Value, room: &str, event_id: &str) -> &'a Value {
    let events = timeline(joined(answer, room));
    let found = events.iter().find(|event| event["event_id"] == event_id);
    assert!(found.is_some(), "{event_id} is not in {answer}");
    found.unwrap()
}

on_both_databases! {
    async fn a_redacted_event_is_empty_and_says_why(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        for version in ["1", "2", "3", "10", "11", "12"] {
            let room = alice.create_room(&json!({ "room_version": version })).await;
            let since = token(&alice).await;
            let sent = alice.send_text(&room, "a secret").await;
            let because = redact(&alice, &room, &sent).await;
            for answer in [alice.sync(Some(&since), 0).await, alice.sync(None, 0).await] {
                let redacted = event(&answer, &room, &sent);
                assert_eq!(redacted["content"], json!({}), "{version}");
                assert_eq!(redacted["unsigned"]["redacted_because"]["event_id"], because.as_str(), "{version}");
                let redaction = event(&answer, &room, &because);
                assert_eq!(redaction["content"]["reason"], "r");
                // Clients of any age find it, whatever the version of the room says.
                assert_eq!(redaction["redacts"], sent.as_str(), "{version}");
                assert_eq!(redaction["content"]["redacts"], sent.as_str(), "{version}");
                assert_eq!(redacted["unsigned"]["redacted_because"]["content"]["redacts"], sent.as_str(), "{version}");
            }
        }
    }

    async fn only_the_sending_device_sees_its_transaction_id(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let other = log_in(&server.client(), "alice", json!({})).await.ok();
        let other = other["access_token"].as_str().unwrap();
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let since = token(&alice).await;
        let path = format!("{V3}/rooms/{}/send/m.room.message/of-mine", path_segment(&room));
        let sent = alice.put(path).json(&json!({ "msgtype": "m.text", "body": "x" })).await.ok();
        let sent = sent["event_id"].as_str().unwrap();
        for query in [format!("{V3}/sync?since={since}"), format!("{V3}/sync")] {
            let own = alice.get(&query).await.ok();
            assert_eq!(event(&own, &room, sent)["unsigned"]["transaction_id"], "of-mine", "{query}");
            for token in [other, &bob.token] {
                let answer = server.client().get(&query).token(token).await.ok();
                assert!(event(&answer, &room, sent)["unsigned"].get("transaction_id").is_none(), "{query}");
            }
        }
    }

    async fn state_says_what_it_replaces(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "topic": "old" })).await;
        let since = token(&alice).await;
        let changed = super::topic(&alice, &room, "new").await;
        for answer in [alice.sync(Some(&since), 0).await, alice.sync(None, 0).await] {
            let unsigned = &event(&answer, &room, &changed)["unsigned"];
            assert_eq!(unsigned["prev_content"]["topic"], "old");
            assert!(unsigned["age"].as_i64().is_some_and(|age| (0..60_000).contains(&age)), "{answer}");
        }
    }

    async fn account_data_is_told_once_each_time_it_changes(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let since = token(&alice).await;
        let of_bob = token(&bob).await;
        let user = format!("{V3}/user/{}", path_segment(&alice.id));
        let everywhere = format!("{user}/account_data/org.a");
        let in_room = format!("{user}/rooms/{}/account_data/m.tag", path_segment(&room));
        for value in 1..=2 {
            for path in [&everywhere, &in_room] {
                let _ = alice.put(path).json(&json!({ "value": value })).await.ok();
            }
        }
        let since_query = format!("since={since}");
        let answer = sync(&alice, &since_query).await;
        for answer in [&answer, &alice.sync(None, 0).await] {
            assert_eq!(answer["account_data"]["events"][0], json!({ "type": "org.a", "content": { "value": 2 } }));
            let of_room = &joined(answer, &room)["account_data"]["events"];
            assert_eq!(of_room, &json!([{ "type": "m.tag", "content": { "value": 2 } }]));
        }
        assert_eq!(alice.sync(Some(next(&answer)), 0).await, nothing_but(next(&answer)));
        let nothing = bob.sync(Some(&of_bob), 0).await;
        assert!(nothing.get("account_data").is_none() && nothing.get("rooms").is_none(), "{nothing}");

        let sent = alice.send_text(&room, "both at once").await;
        let _ = alice.put(&in_room).json(&json!({ "value": 3 })).await.ok();
        let both = alice.sync(Some(next(&answer)), 0).await;
        assert_eq!(ids(timeline(joined(&both, &room))), [sent.as_str()]);
        assert_eq!(joined(&both, &room)["account_data"]["events"][0]["content"], json!({ "value": 3 }));
    }
}
