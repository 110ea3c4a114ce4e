use serde_json::{Value, json};
use testing::{TestServer, on_both_databases, path_segment};

use crate::V3;

on_both_databases! {
    async fn everybody_can_read_what_a_user_tells(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let path = |field: &str| format!("{V3}/profile/{}{field}", path_segment(&alice.id));
        assert_eq!(client.get(path("")).await.ok(), json!({}));
        client.get(path("/displayname")).await.error(404, "M_NOT_FOUND");

        alice.put(path("/displayname")).json(&json!({ "displayname": "Alice 🎩" })).await.ok();
        alice.put(path("/avatar_url")).json(&json!({ "avatar_url": "mxc://localhost/a" })).await.ok();
        alice.put(path("/org.example.job")).json(&json!({ "org.example.job": { "title": ["x", 1] } })).await.ok();
        let all = json!({
            "displayname": "Alice 🎩", "avatar_url": "mxc://localhost/a", "org.example.job": { "title": ["x", 1] },
        });
        assert_eq!(client.get(path("")).await.ok(), all);
        assert_eq!(client.get(path("/displayname")).await.ok(), json!({ "displayname": "Alice 🎩" }));

        alice.delete(path("/org.example.job")).await.ok();
        alice.put(path("/displayname")).json(&json!({ "displayname": null })).await.ok();
        alice.put(path("/avatar_url")).json(&json!({ "avatar_url": "" })).await.ok();
        assert_eq!(client.get(path("")).await.ok(), json!({}));
        client.get(format!("{V3}/profile/@nobody:localhost")).await.error(404, "M_NOT_FOUND");
        client.get(format!("{V3}/profile/nobody")).await.error(400, "M_INVALID_PARAM");
    }

    async fn nobody_changes_the_profile_of_another(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let path = format!("{V3}/profile/{}/displayname", path_segment(&alice.id));
        bob.put(&path).json(&json!({ "displayname": "Mallory" })).await.error(403, "M_FORBIDDEN");
        bob.delete(&path).await.error(403, "M_FORBIDDEN");
        server.client().put(&path).json(&json!({ "displayname": "x" })).await.error(401, "M_MISSING_TOKEN");
    }

    async fn fields_that_are_wrong_or_too_large_are_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let put = |field: &str, body: Value| {
            alice.put(format!("{V3}/profile/{}/{field}", path_segment(&alice.id))).json(&body)
        };
        put("displayname", json!({})).await.error(400, "M_MISSING_PARAM");
        put("displayname", json!({ "displayname": 5 })).await.error(400, "M_INVALID_PARAM");
        put("displayname", json!({ "displayname": "x".repeat(257) })).await.error(400, "M_INVALID_PARAM");
        put("UPPER", json!({ "UPPER": 5 })).await.error(400, "M_INVALID_PARAM");
        let long = "a".repeat(256);
        put(&long, json!({ long.as_str(): 5 })).await.error(400, "M_KEY_TOO_LARGE");
        put("org.example.a", json!({ "org.example.a": "x".repeat(60_000) })).await.ok();
        put("org.example.b", json!({ "org.example.b": "x".repeat(6_000) })).await.error(400, "M_PROFILE_TOO_LARGE");
        put("org.example.a", json!({ "org.example.a": "y".repeat(60_000) })).await.ok();
    }

    async fn what_a_user_is_called_in_one_room_outlasts_a_new_picture_and_the_reverse(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let set = async |field: &str, value: Value| {
            let path = format!("{V3}/profile/{}/{field}", path_segment(&alice.id));
            alice.put(path).json(&json!({ field: value })).await.ok();
        };
        set("displayname", json!("Alice")).await;
        set("avatar_url", json!("mxc://localhost/everywhere")).await;
        let room = alice.create_room(&json!({})).await;
        let path = format!("{V3}/rooms/{}/state/m.room.member/{}", path_segment(&room), path_segment(&alice.id));
        let here = async |content: Value| {
            alice.put(&path).json(&content).await.ok();
        };
        let shown = async || {
            let content = alice.get(&path).await.ok();
            (content["displayname"].clone(), content["avatar_url"].clone())
        };
        let everywhere = "mxc://localhost/everywhere";
        here(json!({ "membership": "join", "displayname": "Secretary", "avatar_url": everywhere })).await;
        set("avatar_url", json!("mxc://localhost/new")).await;
        assert_eq!(shown().await, (json!("Secretary"), json!("mxc://localhost/new")));
        set("avatar_url", Value::Null).await;
        assert_eq!(shown().await, (json!("Secretary"), Value::Null));
        here(json!({ "membership": "join", "displayname": "Alice", "avatar_url": "mxc://localhost/here" })).await;
        set("displayname", json!("Alicia")).await;
        assert_eq!(shown().await, (json!("Alicia"), json!("mxc://localhost/here")));
    }

    async fn rooms_are_told_of_a_new_name(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room_id = alice.create_room(&json!({})).await;
        let path = format!("{V3}/profile/{}/displayname", path_segment(&alice.id));
        alice.put(&path).json(&json!({ "displayname": "Alice" })).await.ok();
        let (room, user) = (path_segment(&room_id), path_segment(&alice.id));
        let member = alice.get(format!("{V3}/rooms/{room}/state/m.room.member/{user}")).await.ok();
        assert_eq!((&member["displayname"], &member["membership"]), (&json!("Alice"), &json!("join")));
    }
}
