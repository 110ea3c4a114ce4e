use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases};

use crate::V3;

async fn send(sender: &User, transaction: &str, messages: Value) -> Answer {
    sender.put(format!("{V3}/sendToDevice/m.test/{transaction}")).json(&json!({ "messages": messages })).await
}

fn next(answer: &Value) -> Option<&str> {
    answer["next_batch"].as_str()
}

/// The numbers in the messages that an answer has.
fn numbers(answer: &Value) -> Vec<i64> {
    let events = answer["to_device"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().map(|event| event["content"]["number"].as_i64().unwrap()).collect()
}

on_both_databases! {
    async fn a_message_reaches_one_several_or_all_devices_once(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let tablet = User::log_in(&server.client(), "bob").await;
        let (at_phone, at_tablet) = (bob.sync(None, 0).await, tablet.sync(None, 0).await);
        send(&alice, "1", json!({ &bob.id: { &bob.device_id: { "number": 1 }, "UNKNOWN": {} } })).await.ok();
        send(&alice, "2", json!({ &bob.id: { "*": { "number": 2 } }, "@nobody:localhost": { "*": {} } })).await.ok();
        let own_and_all = json!({ &bob.device_id: { "number": 3 }, "*": { "number": 4 } });
        send(&alice, "3", json!({ &bob.id: own_and_all, "@remote:elsewhere": { "*": {} } })).await.ok();

        let phone = bob.sync(next(&at_phone), 0).await;
        assert_eq!(numbers(&phone), [1, 2, 3], "{phone}");
        let first = &phone["to_device"]["events"][0];
        assert_eq!(*first, json!({ "sender": alice.id, "type": "m.test", "content": { "number": 1 } }));
        assert_eq!(numbers(&tablet.sync(next(&at_tablet), 0).await), [2, 4]);
        assert!(bob.sync(next(&phone), 0).await.get("to_device").is_none());
    }

    async fn a_message_is_kept_until_a_later_token_proves_that_it_arrived(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let start = bob.sync(None, 0).await;
        send(&alice, "1", json!({ &bob.id: { "*": { "number": 1 } } })).await.ok();
        for _ in 0..2 {
            assert_eq!(numbers(&bob.sync(next(&start), 0).await), [1]);
        }
        let whole = bob.sync(None, 0).await;
        assert_eq!(numbers(&whole), [1], "a first answer has it, too");
        server.shutdown().await;

        let server = TestServer::start(&db).await;
        let bob = bob.at(&server.client());
        assert_eq!(numbers(&bob.sync(next(&start), 0).await), [1]);
        assert!(numbers(&bob.sync(next(&whole), 0).await).is_empty());
        let again = bob.sync(next(&start), 0).await;
        assert!(numbers(&again).is_empty(), "it was deleted: {again}");
    }

    async fn a_repeated_transaction_sends_nothing(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let other = User::log_in(&server.client(), "alice").await;
        for number in [1, 2] {
            send(&alice, "same", json!({ &bob.id: { "*": { "number": number } } })).await.ok();
        }
        // At once, too.
        let same = || send(&alice, "at-once", json!({ &bob.id: { "*": { "number": 3 } } }));
        let answers = tokio::join!(same(), same(), same());
        for answer in [answers.0, answers.1, answers.2] {
            answer.ok();
        }
        send(&other, "same", json!({ &bob.id: { "*": { "number": 4 } } })).await.ok();
        alice.put(format!("{V3}/sendToDevice/m.other/same")).json(&json!({ "messages": {
            &bob.id: { "*": { "number": 5 } },
        } })).await.ok();
        assert_eq!(numbers(&bob.sync(None, 0).await), [1, 3, 4, 5]);
    }

    async fn a_waiting_client_is_woken_by_a_message(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let start = bob.sync(None, 0).await;
        let waiting = bob.sync(next(&start), 30_000);
        let sending = async {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            send(&alice, "1", json!({ &bob.id: { "*": { "number": 1 } } })).await.ok();
        };
        assert_eq!(numbers(&tokio::join!(waiting, sending).0), [1]);
    }

    async fn many_messages_come_in_several_answers_in_their_order(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let start = bob.sync(None, 0).await;
        let padding = "x".repeat(30_000);
        for number in 0..150 {
            let padding = if number < 30 { &padding } else { "" };
            let message = json!({ "number": number, "padding": padding });
            send(&alice, &format!("{number}"), json!({ &bob.id: { "*": message } })).await.ok();
        }
        let (mut since, mut seen, mut answers) = (next(&start).unwrap().to_owned(), Vec::new(), 0);
        while seen.len() < 150 {
            // It would be noticed if it waited.
            let waited = tokio::time::timeout(std::time::Duration::from_secs(20), bob.sync(Some(&since), 60_000)).await;
            let answer = waited.unwrap();
            assert!(answer["to_device"].to_string().len() < 600_000);
            seen.extend(numbers(&answer));
            next(&answer).unwrap().clone_into(&mut since);
            answers += 1;
        }
        assert_eq!(seen, (0..150).collect::<Vec<i64>>());
        assert!(answers > 2, "{answers}");
        assert!(numbers(&bob.sync(Some(&since), 0).await).is_empty());
    }

    async fn messages_go_with_their_device(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let device = json!({ "device_id": "TABLET" });
        crate::log_in(&server.client(), "bob", device.clone()).await.ok();
        send(&alice, "1", json!({ &bob.id: { "*": { "number": 1 } } })).await.ok();
        let password = crate::password_stage("bob", "password of bob");
        bob.delete(format!("{V3}/devices/TABLET")).json(&json!({ "auth": password })).await.ok();
        let again = crate::log_in(&server.client(), "bob", device).await.ok();
        let synced = server.client().get(format!("{V3}/sync")).token(again["access_token"].as_str().unwrap()).await.ok();
        assert!(numbers(&synced).is_empty(), "{synced}");
        assert_eq!(numbers(&bob.sync(None, 0).await), [1]);
    }

    async fn what_cannot_be_sent_is_refused_and_none_of_it_is_sent(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for content in [json!(5), json!([]), json!(null), json!("text")] {
            let messages = json!({ &alice.id: { "*": {} }, &bob.id: { "*": content } });
            send(&alice, "1", messages).await.error(400, "M_BAD_JSON");
        }
        let body = format!(r#"{{"messages": {{"{}": {{"*": {{"n": 1e400}}}}}}}}"#, bob.id);
        alice.put(format!("{V3}/sendToDevice/m.test/1")).body(body).await.error(400, "M_BAD_JSON");
        let large = json!({ &alice.id: { "*": {} }, &bob.id: { "*": { "text": "x".repeat(65_536) } } });
        send(&alice, "1", large).await.error(413, "M_TOO_LARGE");
        send(&alice, "1", json!({ "bob": { "*": {} } })).await.error(400, "M_BAD_JSON");
        send(&alice, "1", json!([])).await.error(400, "M_BAD_JSON");
        alice.put(format!("{V3}/sendToDevice/m.test/1")).json(&json!({})).await.error(400, "M_BAD_JSON");
        for user in [&alice, &bob] {
            assert!(user.sync(None, 0).await.get("to_device").is_none());
        }
        send(&alice, "1", json!({ &bob.id: { "*": { "number": 1, "text": "a\u{0}b" } } })).await.ok();
        assert_eq!(bob.sync(None, 0).await["to_device"]["events"][0]["content"]["text"], "a\u{0}b");
    }
}
