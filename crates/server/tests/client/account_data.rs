use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

use crate::V3;

on_both_databases! {
    async fn account_data_comes_back_as_it_was_written(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room_id = alice.create_room(&json!({})).await;
        let user = format!("{V3}/user/{}", path_segment(&alice.id));
        for path in [
            format!("{user}/account_data/org.example.key"),
            format!("{user}/rooms/{}/account_data/org.example.key", path_segment(&room_id)),
        ] {
            alice.get(&path).await.error(404, "M_NOT_FOUND");
            alice.put(&path).json(&json!({ "value": "first" })).await.ok();
            let written = r#"{"value": "sec\u0000nd",  "order": 0.25}"#;
            alice.put(&path).body(written).await.ok();
            let answer = alice.get(&path).await;
            assert_eq!(answer.body, written);
        }
    }

    async fn account_data_reaches_other_clients_by_sync(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let first = alice.sync(None, 0).await;
        let path = format!("{V3}/user/{}/account_data/org.example.key", path_segment(&alice.id));
        alice.put(&path).json(&json!({ "value": 1 })).await.ok();
        let next = alice.sync(first["next_batch"].as_str(), 10_000).await;
        assert_eq!(next["account_data"]["events"], json!([{ "type": "org.example.key", "content": { "value": 1 } }]));
    }

    async fn what_a_client_cannot_write_is_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let user = format!("{V3}/user/{}", path_segment(&alice.id));
        let key = format!("{user}/account_data/org.example.key");
        for data_type in ["m.fully_read", "m.push_rules"] {
            let answer = alice.put(format!("{user}/account_data/{data_type}")).json(&json!({})).await;
            answer.error(405, "M_BAD_JSON");
        }
        bob.put(&key).json(&json!({})).await.error(403, "M_FORBIDDEN");
        bob.get(&key).await.error(403, "M_FORBIDDEN");
        alice.put(&key).json(&json!([])).await.error(400, "M_BAD_JSON");
        alice.put(&key).body("{").await.error(400, "M_NOT_JSON");
        alice.put(format!("{user}/account_data/{}", "x".repeat(256))).json(&json!({})).await.error(400, "M_INVALID_PARAM");
        let nowhere = format!("{user}/rooms/{}/account_data/x", path_segment("!nowhere:localhost"));
        alice.put(&nowhere).json(&json!({})).await.error(404, "M_NOT_FOUND");
        alice.put(format!("{user}/rooms/nowhere/account_data/x")).json(&json!({})).await.error(400, "M_INVALID_PARAM");
    }
}
