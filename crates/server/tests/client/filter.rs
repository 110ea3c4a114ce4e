use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

use crate::V3;

on_both_databases! {
    async fn a_filter_is_stored_once_and_read_by_its_owner(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let path = format!("{V3}/user/{}/filter", path_segment(&alice.id));
        let filter = json!({ "room": { "timeline": { "limit": 5, "types": ["m.room.*"] } }, "org.example.more": 1 });
        let first = alice.post(&path).json(&filter).await.ok();
        let again = alice.post(&path).json(&filter).await.ok();
        assert_eq!(first, again);
        let other = alice.post(&path).json(&json!({})).await.ok();
        assert_ne!(first, other);
        let id = first["filter_id"].as_str().unwrap();
        assert_eq!(alice.get(format!("{path}/{id}")).await.ok(), filter);
        alice.get(format!("{path}/77")).await.error(404, "M_NOT_FOUND");
        alice.get(format!("{path}/0{id}")).await.error(404, "M_NOT_FOUND");
        bob.get(format!("{path}/{id}")).await.error(403, "M_FORBIDDEN");
        bob.post(&path).json(&filter).await.error(403, "M_FORBIDDEN");
    }

    async fn filters_of_wrong_types_and_endless_ones_are_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let path = format!("{V3}/user/{}/filter", path_segment(&alice.id));
        for filter in [
            json!({ "room": { "timeline": { "limit": "5" } } }),
            json!({ "room": [] }),
            json!({ "room": { "rooms": ["not a room"] } }),
            json!({ "event_fields": [1] }),
            json!({ "presence": { "senders": ["not a user"] } }),
        ] {
            alice.post(&path).json(&filter).await.error(400, "M_BAD_JSON");
        }
        alice.post(&path).json(&json!({ "x": "y".repeat(70_000) })).await.error(413, "M_TOO_LARGE");
    }
}
