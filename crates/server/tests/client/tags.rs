//! Tags of rooms, the rooms that two users share, TURN servers, and whom to ask for help

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use super::V3;

fn tags(user: &User, room: &str) -> String {
    format!("{V3}/user/{}/rooms/{}/tags", path_segment(&user.id), path_segment(room))
}

on_both_databases! {
    async fn rooms_have_tags_which_the_users_other_clients_hear_of(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({})).await;
        let path = tags(&alice, &room);
        assert_eq!(alice.get(&path).await.ok(), json!({ "tags": {} }));
        let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        let _ = alice.put(format!("{path}/m.favourite")).json(&json!({ "order": 0.25, "org.example.x": true })).await.ok();
        let _ = alice.put(format!("{path}/u.work")).json(&json!({})).await.ok();
        let expected = json!({ "tags": { "m.favourite": { "order": 0.25, "org.example.x": true }, "u.work": {} } });
        assert_eq!(alice.get(&path).await.ok(), expected);
        let new = alice.sync(Some(&since), 0).await;
        let data = &new["rooms"]["join"][&room]["account_data"]["events"];
        assert_eq!(*data, json!([{ "type": "m.tag", "content": expected }]));
        let _ = alice.delete(format!("{path}/m.favourite")).await.ok();
        let _ = alice.delete(format!("{path}/m.favourite")).await.ok();
        assert_eq!(alice.get(&path).await.ok(), json!({ "tags": { "u.work": {} } }));

        alice.put(format!("{path}/u.x")).json(&json!({ "order": "first" })).await.error(400, "M_BAD_JSON");
        alice.put(format!("{path}/{}", "x".repeat(256))).json(&json!({})).await.error(400, "M_INVALID_PARAM");
        alice.get(tags(&alice, "!none:localhost")).await.error(404, "M_NOT_FOUND");
        bob.get(&path).await.error(403, "M_FORBIDDEN");
        bob.put(format!("{path}/u.x")).json(&json!({})).await.error(403, "M_FORBIDDEN");
        bob.delete(format!("{path}/u.work")).await.error(403, "M_FORBIDDEN");
    }

    async fn users_see_which_rooms_they_share_with_another(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let mut shared = Vec::new();
        for _ in 0..2 {
            let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
            bob.join(&room).await;
            shared.push(room);
        }
        alice.create_room(&json!({ "invite": [bob.id] })).await;
        let path = |user_id: &str| format!("/_matrix/client/v1/mutual_rooms?user_id={}", path_segment(user_id));
        assert_eq!(alice.get(path(&bob.id)).await.ok(), json!({ "joined": shared, "count": 2 }));
        assert_eq!(alice.get(path("@none:elsewhere")).await.ok(), json!({ "joined": [], "count": 0 }));
        for wrong in [path(&alice.id), path("bob"), format!("{}&from=x", path(&bob.id)), path("").replace("?user_id=", "")] {
            alice.get(wrong).await.error(400, "M_INVALID_PARAM");
        }
        server.client().get(path(&bob.id)).await.error(401, "M_MISSING_TOKEN");
    }

    async fn clients_are_told_of_turn_servers_and_of_help_as_configured(db: TestDatabase) {
        let mut server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let turn = format!("{V3}/voip/turnServer");
        let support = "/.well-known/matrix/support";
        assert_eq!(alice.get(&turn).await.ok(), json!({}));
        server.client().get(&turn).await.error(401, "M_MISSING_TOKEN");
        server.client().get(support).await.error(404, "M_NOT_FOUND");

        let uris = vec!["turn:turn.example.org"];
        let contact = toml::toml! {
            role = "m.role.admin"
            matrix_id = "@root:localhost"
        };
        server.reload_with(&db, &[
            ("turn", "uris", uris.clone().into()),
            ("turn", "shared_secret", "secret".into()),
            ("turn", "user_lifetime", "10m".into()),
            ("support", "contacts", toml::Value::Array(vec![contact.into()])),
            ("support", "page", "https://example.org/help".into()),
        ]);
        let told = alice.get(&turn).await.ok();
        assert_eq!((&told["uris"], &told["ttl"]), (&json!(uris), &json!(600)));
        let (expires, user_id) = told["username"].as_str().unwrap().split_once(':').unwrap();
        assert!(expires.parse::<u64>().is_ok() && user_id == alice.id, "{told}");
        assert_eq!(server.client().get(support).await.ok(), json!({
            "contacts": [{ "role": "m.role.admin", "matrix_id": "@root:localhost" }],
            "support_page": "https://example.org/help",
        }));

        server.reload_with(&db, &[
            ("turn", "uris", uris.clone().into()),
            ("turn", "username", "matrix".into()),
            ("turn", "password", "password".into()),
        ]);
        let expected: Value = json!({ "username": "matrix", "password": "password", "uris": uris, "ttl": 3600 });
        assert_eq!(alice.get(&turn).await.ok(), expected);
    }
}
